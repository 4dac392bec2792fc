"""Publishes the registry to the gateways.

A change and its ``PendingChange`` are committed together; after the commit the registry is read as one
moment, stored as a new version, and brought to Redis: as a delta where only some tenants changed, else
whole. Whatever fails in between, ``redeliver`` (Celery beat) completes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from gateway_hooks.contract.snapshot import Snapshot
from portal.billing.settlement import make_spend_known
from portal.core import clock
from portal.core.redis import REDIS_AWAY
from portal.snapshots.assembly import assemble
from portal.snapshots.delivery import deliver, deliver_delta, held_version, refresh
from portal.snapshots.models import PendingChange, PublishedSnapshot
from portal.snapshots.versions import (
    MAX_DELTAS,
    deltas_since_whole,
    is_due,
    store,
    store_whole_again,
    whole_and_deltas,
)

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
    newest, changed = store(now, above=held or 0)
    return Publication(
        version=newest.version, changed=changed, delivered=held is not None and _deliver(newest, now)
    )


def redeliver(now: datetime) -> Publication:
    """Complete what is due: changes, the passing of time, a Redis that was away or lost its data."""
    newest = _newest()
    if newest is None or is_due(newest, now):
        return publish(now)
    held = _held_or_none()
    if held is not None and held > newest.version:  # PostgreSQL came back from a backup
        return publish(now)
    delivered = held == newest.version and newest.delivered_at is not None
    if held is not None and not delivered:
        delivered = _deliver(newest, now)
    if deltas_since_whole() >= MAX_DELTAS:
        _write_whole_anew(now)
    return Publication(version=newest.version, changed=False, delivered=delivered)


def publish_after_commit(
    report: Callable[[Publication], None] | None = None, *, tenant_id: UUID | None = None
) -> None:
    """Note the change in the running transaction and publish once it is committed.

    ``tenant_id`` is the only tenant that the change touches; without it everything is published. ``report``
    is told the outcome. An error in publishing does not reach the user, whose change is saved; it is
    logged, and ``redeliver`` tries again.
    """
    PendingChange.objects.create(tenant_id=tenant_id)

    def go() -> None:
        now = clock.now()
        publication = publish(now) if PendingChange.objects.exists() else redeliver(now)
        if report:
            report(publication)

    transaction.on_commit(go, robust=True)


def _newest() -> PublishedSnapshot | None:
    return PublishedSnapshot.objects.defer("content", "delta").first()


def _held_or_none() -> int | None:
    try:
        return held_version()
    except REDIS_AWAY as error:
        logger.warning("Redis is away, gateways keep their configuration: %s", error)
        return None


def _deliver(newest: PublishedSnapshot, now: datetime) -> bool:
    """Whether Redis holds ``newest`` or a newer one now."""
    try:
        # First, so that no gateway meets a new tenant whose spending nobody has counted.
        make_spend_known(now)
        if not _deliver_one(newest):
            whole, deltas = whole_and_deltas()
            if whole.content is not None:
                deliver(version=max([whole.version, *deltas]), content=bytes(whole.content), deltas=deltas)
    except REDIS_AWAY as error:
        logger.warning("Redis is away, configuration %s waits: %s", newest.version, error)
        return False
    PublishedSnapshot.objects.filter(version__lte=newest.version, delivered_at__isnull=True).update(
        delivered_at=now
    )
    return True


def _deliver_one(newest: PublishedSnapshot) -> bool:
    """Just the newest delta, which is enough where Redis has what was before it."""
    delta = PublishedSnapshot.objects.filter(pk=newest.pk).values_list("delta", flat=True).first()
    return delta is not None and deliver_delta(
        version=newest.version, base=newest.version - 1, delta=bytes(delta)
    )


def _write_whole_anew(now: datetime) -> None:
    """So that neither Redis nor a gateway that starts has to follow more than some hundred deltas."""
    newest = store_whole_again(now)
    if newest is None or newest.content is None:
        return
    try:
        refresh(version=newest.version, content=bytes(newest.content))
    except REDIS_AWAY as error:
        logger.warning("Redis is away, its whole configuration stays older: %s", error)
