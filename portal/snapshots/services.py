"""Publishes the registry to the gateways.

A change and its ``PendingChange`` are committed together; after the commit the registry is read as one
moment, stored as a new version if its content differs, and brought to Redis. Whatever fails in between,
``redeliver`` (Celery beat) completes.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from gateway_hooks.contract.snapshot import Snapshot, encode_snapshot
from portal.billing.models import PriceBook
from portal.billing.settlement import make_spend_known
from portal.core import clock
from portal.core.redis import REDIS_AWAY
from portal.snapshots.assembly import assemble
from portal.snapshots.delivery import deliver, held_version
from portal.snapshots.models import PendingChange, PublishedSnapshot
from portal.tenants.models import ApiKey

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What became of a publishing. Not ``delivered``: gateways keep what they have until Redis is back."""

    version: int
    changed: bool
    delivered: bool


def build_snapshot(now: datetime) -> Snapshot:
    """The registry as of ``now``, with the version that it would get next."""
    newest = PublishedSnapshot.objects.values_list("version", flat=True).first()
    return assemble(now=now, version=(newest or 0) + 1)


def publish(now: datetime) -> Publication:
    """Store a new version if the content changed, and bring the newest one to Redis."""
    held = _held_or_none()
    newest, changed = _store(now, above=held or 0)
    return Publication(
        version=newest.version, changed=changed, delivered=held is not None and _deliver(newest, now)
    )


def redeliver(now: datetime) -> Publication:
    """Complete what is due: changes, the passing of time, a Redis that was away or lost its data."""
    newest = _newest()
    if newest is None or _is_due(newest, now):
        return publish(now)
    held = _held_or_none()
    if held is not None and held > newest.version:  # PostgreSQL came back from a backup
        return publish(now)
    delivered = held == newest.version and newest.delivered_at is not None
    if held is not None and not delivered:
        delivered = _deliver(PublishedSnapshot.objects.get(pk=newest.pk), now)
    return Publication(version=newest.version, changed=False, delivered=delivered)


def publish_after_commit(report: Callable[[Publication], None] | None = None) -> None:
    """Note the change in the running transaction and publish once it is committed.

    ``report`` is told the outcome. An error in publishing does not reach the user, whose change is
    saved; it is logged, and ``redeliver`` tries again.
    """
    PendingChange.objects.create()

    def go() -> None:
        now = clock.now()
        publication = publish(now) if PendingChange.objects.exists() else redeliver(now)
        if report:
            report(publication)

    transaction.on_commit(go, robust=True)


def content_digest(content: bytes) -> str:
    """SHA-256 (hex) of an encoded snapshot but for its version and time, with which it begins."""
    return hashlib.sha256(content[content.index(b'"tenants":') :]).hexdigest()


@transaction.atomic(durable=True)
def _store(now: datetime, *, above: int) -> tuple[PublishedSnapshot, bool]:
    """(the newest version, whether this call made it). ``above``: a version that must be exceeded."""
    _serialise()
    noted = list(PendingChange.objects.values_list("pk", flat=True))
    newest = PublishedSnapshot.objects.first()
    snapshot = assemble(now=now, version=max(newest.version if newest else 0, above) + 1)
    content = encode_snapshot(snapshot)
    digest = content_digest(content)
    changed = newest is None or newest.digest != digest or newest.version < above
    if newest is None or changed:
        PublishedSnapshot.objects.filter(content__isnull=False).update(content=None)
        newest = PublishedSnapshot.objects.create(
            version=snapshot.version,
            published_at=now,
            checked_at=now,
            digest=digest,
            content=content,
        )
    else:
        PublishedSnapshot.objects.filter(pk=newest.pk).update(checked_at=now)
    PendingChange.objects.filter(pk__in=noted).delete()
    return newest, changed


def _serialise() -> None:
    """One publisher at a time, each seeing all that was committed before its turn.

    LOCK TABLE takes no snapshot of the data, so the first SELECT after it fixes the moment that the
    whole transaction sees. An advisory lock would fix it before the wait, and lose updates.
    """
    with connection.cursor() as cursor:
        if len(connection.savepoint_ids) == 0:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("LOCK TABLE snapshots_publishedsnapshot IN EXCLUSIVE MODE")


def _is_due(newest: PublishedSnapshot, now: datetime) -> bool:
    """Whether the content may differ by now: changes are noted, or a key or price book came of age."""
    since = (newest.checked_at, now)
    return (
        PendingChange.objects.exists()
        or ApiKey.objects.filter(expires_at__range=since).exists()
        or PriceBook.objects.filter(published_at__isnull=False, effective_from__range=since).exists()
    )


def _newest() -> PublishedSnapshot | None:
    return PublishedSnapshot.objects.defer("content").first()


def _held_or_none() -> int | None:
    try:
        return held_version()
    except REDIS_AWAY as error:
        logger.warning("Redis is away, gateways keep their configuration: %s", error)
        return None


def _deliver(newest: PublishedSnapshot, now: datetime) -> bool:
    """Whether Redis holds ``newest`` or a newer one now."""
    if newest.content is not None:
        try:
            # First, so that no gateway meets a new tenant whose spending nobody has counted.
            make_spend_known(now)
            deliver(version=newest.version, content=bytes(newest.content))
        except REDIS_AWAY as error:
            logger.warning("Redis is away, configuration %s waits: %s", newest.version, error)
            return False
        PublishedSnapshot.objects.filter(pk=newest.pk, delivered_at__isnull=True).update(delivered_at=now)
    return True
