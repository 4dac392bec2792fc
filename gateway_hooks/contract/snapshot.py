"""What a gateway must know to serve without asking: the portal's registry, frozen and versioned.

No secret is in here: keys are SHA-256 digests, cache salts and signatures come from the
gateway's own secrets.
"""

import re
from datetime import datetime
from typing import Literal

import msgspec

from gateway_hooks.contract.errors import ContractError
from gateway_hooks.contract.pricing import Price

SCHEMA_VERSION = 1

TenantStatus = Literal["active", "suspended"]
OutagePolicy = Literal["refuse", "allowance"]


class SnapshotError(ContractError):
    """The bytes are no snapshot of a schema this code knows."""

    code = "snapshot_invalid"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """None means: not limited at this scope. Money in micro-currency per calendar month."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    monthly_spend_micro: int | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where an alias leads. Without ``adapter_digest`` it is the pool's base model itself."""

    pool_id: str
    base_model: str
    adapter_version_id: str | None = None
    adapter_digest: str | None = None
    price: Price | None = None


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
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


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """``id`` is public and part of the key's text; only the digest of the whole key is known."""

    id: str
    sha256: str
    tenant_id: str
    app_id: str
    limits: Limits
    expires_at: datetime | None = None


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Workers that share a profile. ``model`` is a local folder or a Hugging Face id."""

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


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """``keys`` holds only usable keys: a revoked one is absent. Keyed by ``ApiKey.id``."""

    version: int
    published_at: datetime
    tenants: dict[str, Tenant]
    keys: dict[str, ApiKey]
    pools: dict[str, Pool]
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
