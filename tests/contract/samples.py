"""One full sample of every struct of the contract, with a stable name: what the golden files hold."""

from datetime import UTC, datetime

import msgspec

from gateway_hooks.contract.fleet import GatewayRecord, WorkerRecord
from gateway_hooks.contract.identity import Identity
from gateway_hooks.contract.pricing import Price
from gateway_hooks.contract.snapshot import ApiKey, Limits, Pool, Route, Snapshot, Tenant
from gateway_hooks.contract.usage import EngineEvent, GatewayEvent, WorkerInterval

NOW = datetime(2026, 11, 21, 8, 30, 0, 123456, tzinfo=UTC)
DIGEST = "ab" * 32
PRICE = Price(
    rate_id="rate-1",
    currency="EUR",
    input_micro=1_000_000,
    cached_input_micro=250_000,
    output_micro=4_000_000,
)
LIMITS = Limits(
    requests_per_minute=60, tokens_per_minute=10_000, concurrency=4, monthly_spend_micro=5_000_000
)
TENANT = Tenant(
    id="tenant-1",
    slug="acme",
    name="Acme Health",
    status="active",
    tier="business",
    service_class="shared",
    billing_timezone="Europe/Berlin",
    limits=LIMITS,
    max_output_tokens=512,
    request_timeout_seconds=120,
    outage_policy="allowance",
    outage_requests_per_minute=10,
    aliases={
        "support": Route(
            pool_id="pool-1",
            base_model="demo",
            adapter_version_id="version-1",
            adapter_digest=DIGEST,
            price=PRICE,
        ),
        "base": Route(pool_id="pool-1", base_model="demo"),
    },
)
KEY = ApiKey(
    id="0123456789ab",
    sha256="cd" * 32,
    tenant_id="tenant-1",
    app_id="app-1",
    limits=Limits(),
    expires_at=NOW,
)
POOL = Pool(
    id="pool-1",
    name="shared",
    base_model="demo",
    model="/models/demo",
    max_model_len=2048,
    max_num_seqs=16,
    max_num_batched_tokens=2048,
    max_loras=4,
    max_cpu_loras=8,
    max_lora_rank=16,
    kv_cache_gib=1,
    enforce_eager=True,
    endpoints=("chat.completions", "completions"),
)
SNAPSHOT = Snapshot(
    version=7,
    published_at=NOW,
    tenants={TENANT.id: TENANT},
    keys={KEY.id: KEY},
    pools={POOL.id: POOL},
)
GATEWAY_EVENT = GatewayEvent(
    event_id="event-1",
    request_id="request-1",
    gateway_id="gateway-1",
    ts=NOW,
    endpoint="chat.completions",
    stream=True,
    outcome="completed",
    http_status=200,
    tenant_id="tenant-1",
    app_id="app-1",
    key_id="0123456789ab",
    alias="support",
    pool_id="pool-1",
    worker_id="worker-1",
    base_model="demo",
    adapter_version_id="version-1",
    adapter_digest=DIGEST,
    forwarded=True,
    prompt_tokens=11,
    cached_tokens=4,
    completion_tokens=6,
    reserved_tokens=393,
    reserved_micro=1161,
    rate_id="rate-1",
    ttft_us=1500,
    duration_us=9000,
    snapshot_version=7,
)
ENGINE_EVENT = EngineEvent(
    event_id="event-2",
    request_id="request-1",
    worker_id="worker-1",
    boot_id="boot-1",
    pool_id="pool-1",
    ts=NOW,
    finished_at=NOW,
    tenant_id="tenant-1",
    app_id="app-1",
    key_id="0123456789ab",
    alias="support",
    base_model="demo",
    adapter_version_id="version-1",
    adapter_digest=DIGEST,
    finish_reason="stop",
    prompt_tokens=11,
    cached_tokens=4,
    completion_tokens=6,
    prefill_ns=1_000_000,
    decode_ns=6_000_000,
    queue_ns=5_000,
    steps=7,
    preemptions=1,
    peak_kv_blocks=3,
)
INTERVAL = WorkerInterval(
    event_id="event-3",
    worker_id="worker-1",
    boot_id="boot-1",
    pool_id="pool-1",
    start=NOW,
    end=NOW,
    startup_ns=5,
    busy_ns=7,
    steps=2,
)
WORKER = WorkerRecord(
    id="worker-1",
    boot_id="boot-1",
    pool_id="pool-1",
    url="http://127.0.0.1:8000",
    state="ready",
    base_model="demo",
    device="cpu",
    max_num_seqs=16,
    kv_cache_tokens=4096,
    vllm_version="0.32.0",
    started_at=NOW,
    seen_at=NOW,
    adapters=(DIGEST,),
    outbox_bytes=10,
)
GATEWAY = GatewayRecord(
    id="gateway-1",
    host="host",
    pid=1,
    url="http://127.0.0.1:4000",
    snapshot_version=7,
    snapshot_loaded_at=NOW,
    snapshot_source="redis",
    started_at=NOW,
    seen_at=NOW,
    spooled_events=2,
)
IDENTITY = Identity(
    request_id="request-1",
    worker_id="worker-1",
    method="POST",
    path="/v1/chat/completions",
    body_sha256="ef" * 32,
    issued_at=1_795_249_800.5,
    tenant_id="tenant-1",
    app_id="app-1",
    key_id="0123456789ab",
    alias="support",
    model="adapter-" + DIGEST,
    adapter_version_id="version-1",
    adapter_digest=DIGEST,
)
SAMPLES: dict[str, msgspec.Struct] = {
    "snapshot.v1": SNAPSHOT,
    "gateway_event.v1": GATEWAY_EVENT,
    "engine_event.v1": ENGINE_EVENT,
    "worker_interval.v1": INTERVAL,
    "worker_record.v1": WORKER,
    "gateway_record.v1": GATEWAY,
    "identity.v1": IDENTITY,
}
