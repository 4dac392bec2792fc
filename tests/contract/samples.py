"""One full sample of every struct of the contract, with a stable name: what the golden files hold."""

from datetime import UTC, datetime

import msgspec

from gateway_hooks.contract.fleet import GatewayRecord, OpenBreaker, WorkerRecord
from gateway_hooks.contract.identity import Identity
from gateway_hooks.contract.pii import CustomPattern, DenyList, PiiPolicy
from gateway_hooks.contract.pricing import Price
from gateway_hooks.contract.snapshot import (
    ApiKey,
    App,
    Bound,
    Claims,
    Configuration,
    Issuer,
    Limits,
    Pool,
    Route,
    Share,
    Snapshot,
    Target,
    TemporaryLimits,
    Tenant,
)
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
    schema_version=1,
)
ALL_LIMITS = Limits(
    requests_per_minute=60,
    tokens_per_minute=10_000,
    concurrency=4,
    kv_bytes=1 << 30,
    context_tokens=2048,
    daily_spend_micro=1_000_000,
    monthly_spend_micro=5_000_000,
)
TARGET = Target(
    pool_id="pool-1",
    base_model="demo",
    adapter_version_id="version-2",
    adapter_digest="ba" * 32,
    price=PRICE,
)
CONFIGURATION = Configuration(
    version=3,
    system_prompt="Be brief.",
    defaults={"temperature": 0.2},
    bounds={"temperature": Bound(low=0.0, high=1.0)},
    stop=("END",),
    max_output_tokens=256,
    endpoints=("chat.completions",),
    tools=("look_up",),
)
SNAPSHOT_2 = msgspec.structs.replace(
    SNAPSHOT,
    schema_version=2,
    tenants={
        TENANT.id: msgspec.structs.replace(
            TENANT,
            limits=ALL_LIMITS,
            aliases={
                "support": Route(
                    pool_id="pool-1",
                    base_model="demo",
                    adapter_version_id="version-1",
                    adapter_digest=DIGEST,
                    price=PRICE,
                    track="stable",
                    beta=TARGET,
                    canary=Share(target=TARGET, basis_points=500),
                    shadow=Share(target=TARGET, basis_points=10_000),
                    fallback=TARGET,
                )
            },
            temporary_limits=(
                TemporaryLimits(
                    id="raise-1", limits=Limits(requests_per_minute=600), starts_at=NOW, until=NOW
                ),
            ),
            end_user_limits=Limits(requests_per_minute=5),
            clamp_output=True,
            weight=4,
            band=2,
            queue_depth=8,
            queue_wait_ms=2000,
            configuration=CONFIGURATION,
            pii=PiiPolicy(
                entities={"EMAIL_ADDRESS": "mask", "CREDIT_CARD": "block"},
                patterns=(CustomPattern(name="CASE", pattern=r"C-\d{6}", action="redact"),),
                deny_lists=(DenyList(name="PROJECT", words=("Bluebird",), action="mask"),),
                completions=True,
                ner=True,
            ),
        )
    },
    keys={
        KEY.id: msgspec.structs.replace(
            KEY, limits=ALL_LIMITS, aliases=("support",), ip_ranges=("10.0.0.0/8",)
        )
    },
    pools={
        POOL.id: msgspec.structs.replace(
            POOL, kv_bytes_per_token=512, seqs_in_flight=16, tokens_in_flight=32_768
        )
    },
    apps={"app-1": App(id="app-1", tenant_id="tenant-1", name="Portal", limits=ALL_LIMITS)},
    issuers={
        "issuer-1": Issuer(
            id="issuer-1",
            tenant_id="tenant-1",
            app_id="app-1",
            issuer="https://login.acme.example",
            audience="tenantry",
            algorithms=("RS256", "HS256"),
            jwks=({"kty": "oct", "kid": "1"},),
            sealed_secrets=("sealed",),
            leeway_seconds=10,
            max_age_seconds=600,
            claims=Claims(tenant="org", app="azp", models="models", budget="budget", end_user="email"),
            limits=ALL_LIMITS,
            ip_ranges=("10.0.0.0/8",),
        )
    },
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
    schema_version=1,
)
GATEWAY_EVENT_2 = msgspec.structs.replace(
    GATEWAY_EVENT,
    schema_version=2,
    configuration_version=3,
    issuer_id="issuer-1",
    end_user="0a1b",
    served="canary",
    degraded=True,
    attempts=2,
    shadow_of="request-0",
    queue_us=1500,
    counted_prompt_tokens=11,
    max_output_tokens=382,
    clamped=True,
    choices=2,
    pii_counts={"EMAIL_ADDRESS": 2},
    refused_scope="tenant",
    refused_limit=10,
    refused_used=10,
    refused_asked=1,
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
    schema_version=1,
)
ENGINE_EVENT_2 = msgspec.structs.replace(ENGINE_EVENT, schema_version=2, shadow=True, attempt=2)
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
    schema_version=1,
)
INTERVAL_2 = msgspec.structs.replace(INTERVAL, schema_version=2)
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
    schema_version=1,
)
GATEWAY_2 = msgspec.structs.replace(
    GATEWAY,
    breakers=(
        OpenBreaker(
            worker_id="worker-1", adapter_digest=DIGEST, tenant_id="tenant-1", half_open=True, since=NOW
        ),
    ),
    unhealthy=("worker-2",),
    schema_version=2,
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
IDENTITY_2 = msgspec.structs.replace(IDENTITY, shadow=True, admitted_at=1_795_249_799.25)
OLD_SAMPLES: dict[str, msgspec.Struct] = {
    "snapshot.v1": SNAPSHOT,
    "gateway_event.v1": GATEWAY_EVENT,
    "engine_event.v1": ENGINE_EVENT,
    "worker_interval.v1": INTERVAL,
    "worker_record.v1": WORKER,
    "gateway_record.v1": GATEWAY,
    "identity.v1": IDENTITY,
}
"""Written by earlier versions; to be read for ever."""
SAMPLES: dict[str, msgspec.Struct] = {
    "snapshot.v2": SNAPSHOT_2,
    "gateway_event.v2": GATEWAY_EVENT_2,
    "engine_event.v2": ENGINE_EVENT_2,
    "worker_interval.v2": INTERVAL_2,
    "worker_record.v1": WORKER,
    "gateway_record.v2": GATEWAY_2,
    "identity.v2": IDENTITY_2,
}
"""As they are written today."""
