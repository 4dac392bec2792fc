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
from gateway_hooks.contract.snapshot_mark import Mark
from portal.billing.settlement import make_spend_known
from portal.core import clock
from portal.core.redis import REDIS_AWAY
from portal.snapshots.assembly import assemble
from portal.snapshots.delivery import deliver, deliver_delta, held, refresh
from portal.snapshots.models import PendingChange, PublishedSnapshot
from portal.snapshots.versions import (
    MAX_DELTAS,
    deltas_since_whole,
    is_due,
    is_strange,
    mark,
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
    """Store a new version if one is due, and bring the newest one to Redis."""
    at = _held_or_none()
    newest, changed = store(now, held=at)
    return Publication(
        version=newest.version, changed=changed, delivered=at is not None and _deliver(newest, now)
    )


def redeliver(now: datetime) -> Publication:
    """Complete what is due: changes, the passing of time, a Redis that was away or lost its data."""
    publication = _complete(now)
    if deltas_since_whole() >= MAX_DELTAS:
        _write_whole_anew(now)
    return publication


def publish_after_commit(
    report: Callable[[Publication], None] | None = None, *, tenant_id: UUID | None = None
) -> None:
    """Note the change in the running transaction and publish once it is committed.

    ``tenant_id`` is the only tenant that the change touches; without it everything is published. ``report``
    is told the outcome.
    """
    PendingChange.objects.create(tenant_id=tenant_id)
    publish_noted_after_commit(report)


def publish_noted_after_commit(report: Callable[[Publication], None] | None) -> None:
    """Publish what the running transaction notes, once it is committed.

    An error in publishing does not reach the user, whose change is saved; it is logged, and ``redeliver``
    tries again.
    """

    def go() -> None:
        publication = _complete(clock.now())
        if report:
            report(publication)

    transaction.on_commit(go, robust=True)


def _complete(now: datetime) -> Publication:
    newest = _newest()
    if newest is None or is_due(newest, now):
        return publish(now)
    at = _held_or_none()
    if at == mark(newest) and newest.delivered_at is not None:
        return Publication(version=newest.version, changed=False, delivered=True)
    if at is not None and is_strange(at):
        return publish(now)
    return Publication(
        version=newest.version, changed=False, delivered=at is not None and _deliver(newest, now)
    )


def _newest() -> PublishedSnapshot | None:
    return PublishedSnapshot.objects.defer("content", "delta").first()


def _held_or_none() -> Mark | None:
    try:
        return held()
    except REDIS_AWAY as error:
        logger.warning("Redis is away, gateways keep their configuration: %s", error)
        return None


def _deliver(newest: PublishedSnapshot, now: datetime) -> bool:
    """Whether Redis holds ``newest`` or a newer one now."""
    try:
        # First, so that no gateway meets a new tenant whose spending nobody has counted.
        make_spend_known(now)
        if not (_is_there(newest) or _deliver_one(newest)):
            deliver(*whole_and_deltas())
        there = _is_there(newest)
    except REDIS_AWAY as error:
        logger.warning("Redis is away, configuration %s waits: %s", newest.version, error)
        return False
    if there:
        waiting = PublishedSnapshot.objects.filter(version__lte=newest.version, delivered_at__isnull=True)
        waiting.update(delivered_at=now)
    return there


def _is_there(newest: PublishedSnapshot) -> bool:
    at = held()
    return at == mark(newest) or (at.version > newest.version and not is_strange(at))


def _deliver_one(newest: PublishedSnapshot) -> bool:
    """Just the newest delta, which is enough where Redis has what was before it."""
    delta = PublishedSnapshot.objects.filter(pk=newest.pk).values_list("delta", flat=True).first()
    base = PublishedSnapshot.objects.defer("content", "delta").filter(pk=newest.version - 1).first()
    if delta is None or base is None:
        return False
    return deliver_delta(mark(newest), bytes(delta), base=mark(base))


def _write_whole_anew(now: datetime) -> None:
    """So that neither Redis nor a gateway that starts has to follow more than some hundred deltas."""
    newest = store_whole_again(now)
    if newest is None or newest.content is None:
        return
    try:
        refresh(mark(newest), bytes(newest.content))
    except REDIS_AWAY as error:
        logger.warning("Redis is away, its whole configuration stays older: %s", error)
