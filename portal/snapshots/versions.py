"""The stored versions: what the next one is, and what of it is written down.

One publisher at a time (``_serialise``), each seeing all that was committed before its turn.
"""

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import connection, transaction

from gateway_hooks.contract.snapshot import encode_snapshot
from gateway_hooks.contract.snapshot_delta import SnapshotDelta, encode_delta, part_of
from portal.billing.models import PriceBook
from portal.snapshots.assembly import assemble
from portal.snapshots.models import PendingChange, PublishedSnapshot
from portal.tenants.models import ApiKey, LimitRaise

MAX_TENANTS = 50
"""A change of more tenants is published whole."""
MAX_DELTAS = 200
"""After so many deltas the whole is written anew."""


class Stored(NamedTuple):
    """``changed``: this call made the version."""

    newest: PublishedSnapshot
    changed: bool


@transaction.atomic(durable=True)
def store(now: datetime, *, above: int) -> Stored:
    """Write the next version if the registry differs. ``above``: a version that must be exceeded."""
    _serialise()
    noted = dict(PendingChange.objects.values_list("pk", "tenant_id"))
    newest = PublishedSnapshot.objects.defer("content").first()
    tenants = set(noted.values())
    named = {tenant for tenant in tenants if tenant is not None}
    if newest is not None and named == tenants and _may_be_delta(newest, named, now, above=above):
        stored = Stored(_store_delta(now, newest, named), changed=True)
    else:
        stored = _store_whole(now, newest, above=above)
    PendingChange.objects.filter(pk__in=noted).delete()
    return stored


@transaction.atomic(durable=True)
def store_whole_again(now: datetime) -> PublishedSnapshot | None:
    """The whole of the newest version, on its own row in place of its delta. None if it is whole or due."""
    _serialise()
    newest = PublishedSnapshot.objects.defer("content").first()
    if newest is None or newest.delta is None or is_due(newest, now):
        return None
    snapshot = assemble(now=now, version=newest.version)
    snapshot = msgspec.structs.replace(snapshot, published_at=newest.published_at)
    _forget_older()
    newest.content, newest.delta = encode_snapshot(snapshot), None
    newest.digest = content_digest(newest.content)
    newest.save(update_fields=["content", "delta", "digest"])
    return newest


def whole_and_deltas() -> tuple[PublishedSnapshot, dict[int, bytes]]:
    """The last row with a whole content, and the deltas that lead on from it, by version."""
    whole = PublishedSnapshot.objects.filter(content__isnull=False).get()
    later = PublishedSnapshot.objects.filter(version__gt=whole.version).order_by("version")
    rows = later.values_list("version", "delta")
    return whole, {version: bytes(delta) for version, delta in rows if delta is not None}


def deltas_since_whole() -> int:
    return PublishedSnapshot.objects.filter(delta__isnull=False).count()


def is_due(newest: PublishedSnapshot, now: datetime) -> bool:
    """Whether the registry may say something else by now."""
    return PendingChange.objects.exists() or _came_of_age(newest, now)


def content_digest(content: bytes) -> str:
    """SHA-256 (hex) of an encoded snapshot but for its version and time, with which it begins."""
    return hashlib.sha256(content[content.index(b'"tenants":') :]).hexdigest()


def _came_of_age(newest: PublishedSnapshot, now: datetime) -> bool:
    """A key or raise ended, or a price book began, since the registry was last read."""
    since = (newest.checked_at, now)
    return (
        ApiKey.objects.filter(expires_at__range=since).exists()
        or LimitRaise.objects.filter(until__range=since).exists()
        or PriceBook.objects.filter(published_at__isnull=False, effective_from__range=since).exists()
    )


def _may_be_delta(newest: PublishedSnapshot, named: Collection[UUID], now: datetime, *, above: int) -> bool:
    return (
        0 < len(named) <= MAX_TENANTS
        and newest.version >= above
        and now > newest.published_at
        and not _came_of_age(newest, now)
    )


def _store_delta(now: datetime, newest: PublishedSnapshot, named: Collection[UUID]) -> PublishedSnapshot:
    snapshot = assemble(now=now, version=newest.version + 1, only=named)
    delta = encode_delta(
        SnapshotDelta(
            version=snapshot.version,
            base=newest.version,
            published_at=now,
            base_published_at=newest.published_at,
            tenants={str(pk): part_of(snapshot, str(pk)) for pk in named},
        )
    )
    return PublishedSnapshot.objects.create(
        version=snapshot.version,
        published_at=now,
        checked_at=now,
        digest=hashlib.sha256(delta).hexdigest(),
        delta=delta,
    )


def _store_whole(now: datetime, newest: PublishedSnapshot | None, *, above: int) -> Stored:
    snapshot = assemble(now=now, version=max(newest.version if newest else 0, above) + 1)
    content = encode_snapshot(snapshot)
    digest = content_digest(content)
    if newest is not None and newest.digest == digest and newest.version >= above:
        PublishedSnapshot.objects.filter(pk=newest.pk).update(checked_at=now)
        return Stored(newest, changed=False)
    _forget_older()
    made = PublishedSnapshot.objects.create(
        version=snapshot.version, published_at=now, checked_at=now, digest=digest, content=content
    )
    return Stored(made, changed=True)


def _forget_older() -> None:
    """What earlier versions held; that they were, and when, stays."""
    PublishedSnapshot.objects.filter(content__isnull=False).update(content=None)
    PublishedSnapshot.objects.filter(delta__isnull=False).update(delta=None)


def _serialise() -> None:
    """One publisher at a time.

    LOCK TABLE takes no snapshot of the data, so the first SELECT after it fixes the moment that the
    whole transaction sees. An advisory lock would fix it before the wait, and lose updates.
    """
    with connection.cursor() as cursor:
        if len(connection.savepoint_ids) == 0:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("LOCK TABLE snapshots_publishedsnapshot IN EXCLUSIVE MODE")
