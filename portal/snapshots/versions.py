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

from gateway_hooks.contract.snapshot import SCHEMA_VERSION, encode_snapshot
from gateway_hooks.contract.snapshot_delta import SnapshotDelta, encode_delta, part_of
from gateway_hooks.contract.snapshot_mark import Mark
from portal.billing.models import PriceBook
from portal.snapshots.assembly import assemble
from portal.snapshots.delivery import Delta
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
def store(now: datetime, *, held: Mark | None) -> Stored:
    """Write the next version if the registry differs. ``held``: what Redis has, None if nobody knows.

    What Redis has of another line, after one of the two lost data, is exceeded by a whole.
    """
    _serialise()
    noted = dict(PendingChange.objects.values_list("pk", "tenant_id"))
    newest = PublishedSnapshot.objects.defer("content").first()
    above = held.version if held and is_strange(held) else 0
    if newest is not None and not above and not is_due(newest, now):
        return _unchanged(newest, now)
    tenants = set(noted.values())
    named = {tenant for tenant in tenants if tenant is not None}
    if newest is not None and not above and named == tenants and _may_be_delta(newest, named, now):
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


class Everything(NamedTuple):
    """The last whole content, and the deltas that lead on from it to ``newest``."""

    newest: Mark
    content: bytes
    deltas: list[Delta]


@transaction.atomic(durable=True)
def whole_and_deltas() -> Everything:
    """As of one moment, while others publish."""
    _see_one_moment()
    whole = PublishedSnapshot.objects.get(content__isnull=False)
    later = list(PublishedSnapshot.objects.filter(version__gt=whole.version).order_by("version"))
    deltas = [Delta(row.version, bytes(row.delta)) for row in later if row.delta is not None]
    return Everything(mark(later[-1] if later else whole), bytes(whole.content or b""), deltas)


def mark(stored: PublishedSnapshot) -> Mark:
    return Mark(stored.version, stored.published_at)


def is_strange(held: Mark) -> bool:
    """Whether Redis holds something that was never stored here, or stored and then undone by a restore."""
    if held.version == 0 or held.published_at is None:
        return held.version > 0
    ours = PublishedSnapshot.objects.filter(version=held.version, published_at=held.published_at)
    return not ours.exists()


def deltas_since_whole() -> int:
    return PublishedSnapshot.objects.filter(delta__isnull=False).count()


def is_due(newest: PublishedSnapshot, now: datetime) -> bool:
    """Whether the registry may say something else by now, or says it in another schema."""
    return (
        newest.schema_version != SCHEMA_VERSION or PendingChange.objects.exists() or _came_of_age(newest, now)
    )


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


def _may_be_delta(newest: PublishedSnapshot, named: Collection[UUID], now: datetime) -> bool:
    return (
        0 < len(named) <= MAX_TENANTS
        and newest.schema_version == SCHEMA_VERSION
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
        schema_version=SCHEMA_VERSION,
        delta=delta,
    )


def _store_whole(now: datetime, newest: PublishedSnapshot | None, *, above: int) -> Stored:
    snapshot = assemble(now=now, version=max(newest.version if newest else 0, above) + 1)
    content = encode_snapshot(snapshot)
    digest = content_digest(content)
    known = newest is not None and (newest.digest, newest.schema_version) == (digest, SCHEMA_VERSION)
    if newest is not None and known and not above:
        return _unchanged(newest, now)
    _forget_older()
    made = PublishedSnapshot.objects.create(
        version=snapshot.version,
        published_at=now,
        checked_at=now,
        digest=digest,
        schema_version=SCHEMA_VERSION,
        content=content,
    )
    return Stored(made, changed=True)


def _unchanged(newest: PublishedSnapshot, now: datetime) -> Stored:
    PublishedSnapshot.objects.filter(pk=newest.pk).update(checked_at=now)
    return Stored(newest, changed=False)


def _forget_older() -> None:
    """What earlier versions held; that they were, and when, stays."""
    PublishedSnapshot.objects.filter(content__isnull=False).update(content=None)
    PublishedSnapshot.objects.filter(delta__isnull=False).update(delta=None)


def _serialise() -> None:
    """One publisher at a time.

    LOCK TABLE takes no snapshot of the data, so the first SELECT after it fixes the moment that the
    whole transaction sees. An advisory lock would fix it before the wait, and lose updates.
    """
    _see_one_moment()
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE snapshots_publishedsnapshot IN EXCLUSIVE MODE")


def _see_one_moment() -> None:
    """In the whole transaction, that of its first SELECT."""
    if len(connection.savepoint_ids) == 0:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
