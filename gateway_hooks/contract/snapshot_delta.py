"""What changed between two versions of the configuration, tenant by tenant.

A change of one tenant among ten thousand travels in a few kilobytes. Whatever touches more than tenants
(pools, price books, tiers) is published as a whole snapshot.
"""

import logging
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec

from gateway_hooks.contract.snapshot import (
    SCHEMA_VERSION,
    ApiKey,
    App,
    Issuer,
    Snapshot,
    SnapshotError,
    Tenant,
)

log = logging.getLogger("tenantry.snapshot")

T = TypeVar("T", ApiKey, App, Issuer)


class TenantPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a snapshot says of one tenant; ``tenant`` None: it is gone, with all of this."""

    tenant: Tenant | None = None
    keys: dict[str, ApiKey] = {}
    apps: dict[str, App] = {}
    issuers: dict[str, Issuer] = {}


class SnapshotDelta(msgspec.Struct, frozen=True, kw_only=True):
    """From the version ``base``, published at ``base_published_at``, to ``version``. Keyed by tenant id."""

    version: int
    base: int
    published_at: datetime
    base_published_at: datetime
    tenants: dict[str, TenantPart]
    schema_version: int = SCHEMA_VERSION


def part_of(snapshot: Snapshot, tenant_id: str) -> TenantPart:
    """What ``snapshot`` says of one tenant."""

    mine = frozenset({tenant_id})
    return TenantPart(
        tenant=snapshot.tenants.get(tenant_id),
        keys=_of(snapshot.keys, mine),
        apps=_of(snapshot.apps, mine),
        issuers=_of(snapshot.issuers, mine),
    )


def applied(snapshot: Snapshot, delta: SnapshotDelta) -> Snapshot:
    """The next version. Raises ``SnapshotError`` unless ``delta`` begins where ``snapshot`` is."""
    if (delta.base, delta.base_published_at) != (snapshot.version, snapshot.published_at):
        message = f"delta from {delta.base} does not fit snapshot {snapshot.version}"
        raise SnapshotError(message)
    parts, changed = delta.tenants.values(), delta.tenants.keys()
    tenants = {name: tenant for name, tenant in snapshot.tenants.items() if name not in changed}
    tenants |= {name: part.tenant for name, part in delta.tenants.items() if part.tenant is not None}
    return msgspec.structs.replace(
        snapshot,
        version=delta.version,
        published_at=delta.published_at,
        tenants=tenants,
        keys=_replaced(snapshot.keys, changed, [part.keys for part in parts]),
        apps=_replaced(snapshot.apps, changed, [part.apps for part in parts]),
        issuers=_replaced(snapshot.issuers, changed, [part.issuers for part in parts]),
    )


class Followed(NamedTuple):
    """``used``: the deltas that led on, encoded."""

    snapshot: Snapshot
    used: list[bytes]


def followed(snapshot: Snapshot, deltas: Iterable[bytes]) -> Followed:
    """As far as the deltas lead. Left out are those of another line, repeated or torn."""
    used = []
    for raw in deltas:
        try:
            snapshot = applied(snapshot, decode_delta(raw))
        except SnapshotError as error:
            log.debug("a delta is left out: %s", error)
        else:
            used.append(raw)
    return Followed(snapshot, used)


def _of(entries: dict[str, T], tenants: AbstractSet[str]) -> dict[str, T]:
    return {name: entry for name, entry in entries.items() if entry.tenant_id in tenants}


def _replaced(entries: dict[str, T], changed: AbstractSet[str], new: Iterable[dict[str, T]]) -> dict[str, T]:
    kept = {name: entry for name, entry in entries.items() if entry.tenant_id not in changed}
    for part in new:
        kept |= part
    return kept


_decoder = msgspec.json.Decoder(SnapshotDelta)


def encode_delta(delta: SnapshotDelta) -> bytes:
    return msgspec.json.encode(delta)


def decode_delta(raw: bytes) -> SnapshotDelta:
    """Raises ``SnapshotError`` for anything but a delta of a known schema."""
    try:
        delta = _decoder.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        message = f"not a snapshot delta: {error}"
        raise SnapshotError(message) from error
    if delta.schema_version > SCHEMA_VERSION:
        message = f"delta schema {delta.schema_version} is newer than {SCHEMA_VERSION}"
        raise SnapshotError(message)
    return delta
