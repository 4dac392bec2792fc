"""What a gateway must know to serve without asking: the portal's registry, frozen and versioned.

No secret is in here in clear: keys are SHA-256 digests, shared secrets of token issuers are sealed
(``contract.sealing``), cache salts and signatures come from the gateway's own secrets.
"""

import re
from datetime import datetime
from typing import Any, Literal

import msgspec

from gateway_hooks.contract.errors import ContractError
from gateway_hooks.contract.pii import PiiPolicy
from gateway_hooks.contract.pricing import Price

SCHEMA_VERSION = 2

TenantStatus = Literal["active", "suspended"]
OutagePolicy = Literal["refuse", "allowance"]


class SnapshotError(ContractError):
    """The bytes are no snapshot of a schema this code knows."""

    code = "snapshot_invalid"


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """None means: not limited at this scope.

    Money in micro-currency per calendar day or month of the tenant's billing zone. ``kv_bytes`` is KV cache
    projected for requests in flight; ``context_tokens`` is prompt and output of one request.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    kv_bytes: int | None = None
    context_tokens: int | None = None
    daily_spend_micro: int | None = None
    monthly_spend_micro: int | None = None


class TemporaryLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """In ``[starts_at, until)`` those of ``limits`` hold that are more than the tenant's. Gateways end it."""

    id: str
    limits: Limits
    starts_at: datetime
    until: datetime


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What serves a request. Without ``adapter_digest`` it is the pool's base model itself."""

    pool_id: str
    base_model: str
    adapter_version_id: str | None = None
    adapter_digest: str | None = None
    price: Price | None = None


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an alias's conversations, in basis points (10,000 is all), and where it goes."""

    target: Target
    basis_points: int


class Route(Target, frozen=True, kw_only=True, omit_defaults=True):
    """Where an alias leads: itself the pinned or stable target.

    ``beta`` is there only for tenants that take beta versions. ``canary`` takes its share, sticky by
    conversation; ``shadow`` gets a copy that nobody waits for or pays; ``fallback`` serves, marked as
    degraded, when the target cannot.
    """

    track: Literal["pinned", "stable"] = "pinned"
    beta: Target | None = None
    canary: Share | None = None
    shadow: Share | None = None
    fallback: Target | None = None


class Bound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parameter's least and greatest value; what lies outside is moved to the nearest."""

    low: float | None = None
    high: float | None = None


class Configuration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tenant's published configuration. None means: as everybody.

    ``defaults`` are body parameters set where a client sends none. ``tools`` are the function names that may
    be offered to the model. ``system_prompt`` comes before what the client sends.
    """

    version: int
    system_prompt: str = ""
    defaults: dict[str, Any] = {}
    bounds: dict[str, Bound] = {}
    stop: tuple[str, ...] = ()
    max_output_tokens: int | None = None
    endpoints: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None


class Tenant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``band`` orders service classes in a pool's queue (smaller is first), ``weight`` tenants within one.

    ``pii`` is the policy in force; None masks nothing. ``end_user_limits`` hold for each end user that the
    tenant's app names, or its token's subject.
    """

    id: str
    slug: str
    name: str
    status: TenantStatus
    tier: str
    service_class: str
    billing_timezone: str
    limits: Limits
    max_output_tokens: int
    request_timeout_seconds: int
    outage_policy: OutagePolicy
    outage_requests_per_minute: int
    aliases: dict[str, Route]
    temporary_limits: tuple[TemporaryLimits, ...] = ()
    end_user_limits: Limits | None = None
    clamp_output: bool = False
    weight: int = 1
    band: int = 0
    queue_depth: int = 32
    queue_wait_ms: int = 10_000
    configuration: Configuration | None = None
    pii: PiiPolicy | None = None


class App(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tenant's application; its limits hold over all its keys and tokens."""

    id: str
    tenant_id: str
    name: str
    limits: Limits


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``id`` is public and part of the key's text; only the digest of the whole key is known.

    ``aliases`` None: all of the tenant's. ``ip_ranges`` empty: from anywhere; else CIDR networks.
    """

    id: str
    sha256: str
    tenant_id: str
    app_id: str
    limits: Limits
    expires_at: datetime | None = None
    aliases: tuple[str, ...] | None = None
    ip_ranges: tuple[str, ...] = ()


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Names of a token's claims. Empty: this claim is not read.

    ``tenant`` must name the issuer's own tenant (its id or slug). ``app`` names an app of the tenant,
    ``models`` is a list of aliases, ``budget`` micro-currency per month for the token's subject.
    """

    tenant: str = ""
    app: str = ""
    models: str = ""
    budget: str = ""
    end_user: str = "sub"


class Issuer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who signs tokens (JWT, RFC 7519) for one tenant. ``(issuer, audience)`` belongs to one tenant only.

    ``jwks`` are public keys as JWK (RFC 7517), several during a rotation; ``sealed_secrets`` are shared
    secrets for HS256…512, sealed. Tokens without an ``app`` claim act for ``app_id``.
    """

    id: str
    tenant_id: str
    app_id: str
    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    jwks: tuple[dict[str, Any], ...] = ()
    sealed_secrets: tuple[str, ...] = ()
    leeway_seconds: int = 30
    max_age_seconds: int = 3600
    claims: Claims = Claims()
    limits: Limits = Limits()
    ip_ranges: tuple[str, ...] = ()


class Pool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Workers that share a profile. ``model`` is a local folder or a Hugging Face id.

    ``seqs_in_flight`` and ``tokens_in_flight`` bound what gateways admit per worker, so that the engine's own
    queue stays short; None: what the worker reports (``max_num_seqs``, ``kv_cache_tokens``).
    ``kv_bytes_per_token`` (``contract.kv``) None: unknown, so a tenant with a KV budget is refused here.
    """

    id: str
    name: str
    base_model: str
    model: str
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_loras: int
    max_cpu_loras: int
    max_lora_rank: int
    kv_cache_gib: int
    enforce_eager: bool
    endpoints: tuple[str, ...]
    kv_bytes_per_token: int | None = None
    seqs_in_flight: int | None = None
    tokens_in_flight: int | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """``keys`` holds only usable keys: a revoked one is absent. Keyed by ``ApiKey.id``.

    ``apps`` are keyed by id, ``issuers`` by ``Issuer.id``.
    """

    version: int
    published_at: datetime
    tenants: dict[str, Tenant]
    keys: dict[str, ApiKey]
    pools: dict[str, Pool]
    apps: dict[str, App] = {}
    issuers: dict[str, Issuer] = {}
    schema_version: int = SCHEMA_VERSION


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Snapshot)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """JSON; equal snapshots give equal bytes."""
    return _encoder.encode(snapshot)


HEAD_BYTES = 32
"""So much of a snapshot's JSON tells its version, which stands first: no need to fetch the rest."""
_VERSION = re.compile(rb'{"version":(\d+),')


def version_at_head(head: bytes) -> int | None:
    """The version in the first ``HEAD_BYTES`` of an encoded snapshot; None if it is none."""
    match = _VERSION.match(head)
    return int(match.group(1)) if match else None


def decode_snapshot(raw: bytes) -> Snapshot:
    """Raises ``SnapshotError`` for anything but a snapshot of a known schema."""
    try:
        snapshot = _decoder.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        message = f"not a snapshot: {error}"
        raise SnapshotError(message) from error
    if snapshot.schema_version > SCHEMA_VERSION:
        message = f"snapshot schema {snapshot.schema_version} is newer than {SCHEMA_VERSION}"
        raise SnapshotError(message)
    return snapshot
