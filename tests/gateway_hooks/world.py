"""A small world to test in: two tenants with an adapter each, their keys, one pool, one worker."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gateway_hooks.contract.api_keys import key_sha256, new_key
from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.pricing import Price
from gateway_hooks.contract.snapshot import ApiKey, Limits, Pool, Route, Snapshot, Tenant

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
ENDPOINTS = ("chat.completions", "completions", "embeddings", "responses", "messages")
BASE_MODEL = "tenantry-demo"
PRICE = Price(
    rate_id="rate-1",
    currency="EUR",
    input_micro=1_000_000,
    cached_input_micro=250_000,
    output_micro=4_000_000,
)
POOL = Pool(
    id="pool-1",
    name="shared",
    base_model=BASE_MODEL,
    model="demo",
    max_model_len=100_000,
    max_num_seqs=8,
    max_num_batched_tokens=2048,
    max_loras=2,
    max_cpu_loras=4,
    max_lora_rank=8,
    kv_cache_gib=1,
    enforce_eager=True,
    endpoints=ENDPOINTS,
)


def route(digest: str | None = None, **changes: Any) -> Route:
    version = f"version-{digest[:6]}" if digest else None
    made = Route(
        pool_id=POOL.id,
        base_model=BASE_MODEL,
        adapter_version_id=version,
        adapter_digest=digest,
        price=PRICE,
    )
    return msgspec.structs.replace(made, **changes)


def tenant(name: str, aliases: dict[str, Route], **changes: Any) -> Tenant:
    made = Tenant(
        id=f"tenant-{name}",
        slug=name,
        name=name.title(),
        status="active",
        tier="business",
        service_class="shared",
        billing_timezone="Europe/Berlin",
        limits=Limits(),
        max_output_tokens=256,
        request_timeout_seconds=20,
        outage_policy="refuse",
        outage_requests_per_minute=0,
        aliases=aliases,
    )
    return msgspec.structs.replace(made, **changes)


def api_key(tenant_id: str, **changes: Any) -> tuple[ApiKey, str]:
    """The record, and the secret text that a client sends."""
    key_id, secret = new_key()
    made = ApiKey(
        id=key_id,
        sha256=key_sha256(secret),
        tenant_id=tenant_id,
        app_id=f"app-of-{tenant_id}",
        limits=Limits(),
    )
    return msgspec.structs.replace(made, **changes), secret


def snapshot(version: int, tenants: list[Tenant], keys: list[ApiKey], *, pool: Pool = POOL) -> Snapshot:
    return Snapshot(
        version=version,
        published_at=NOW + timedelta(seconds=version),
        tenants={entry.id: entry for entry in tenants},
        keys={entry.id: entry for entry in keys},
        pools={pool.id: pool},
    )


def worker(url: str, **changes: Any) -> WorkerRecord:
    made = WorkerRecord(
        id="worker-1",
        boot_id="boot-1",
        pool_id=POOL.id,
        url=url,
        state="ready",
        base_model=BASE_MODEL,
        device="cpu",
        max_num_seqs=8,
        kv_cache_tokens=4096,
        vllm_version="stand-in",
        started_at=NOW,
        seen_at=NOW,
    )
    return msgspec.structs.replace(made, **changes)
