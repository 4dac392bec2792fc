"""When a tenant whose counters Redis lost may be counted from the ledger.

What ran when they were lost is in no counter any more and not yet in the ledger. So the tenant waits until
all of that has surely ended, was taken in and was rated.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from django.db.models import Min, Q

from gateway_hooks.contract import keys
from portal.billing.arrivals import ingest_lags
from portal.core.redis import client as redis_client
from portal.snapshots.models import PublishedSnapshot
from portal.tenants.models import Tenant
from portal.usage.models import EngineUsage, GatewayUsage, PendingRequest

RECENT = timedelta(hours=1)
MARGIN = timedelta(seconds=10)
"""For the end of a request that ran out of time, for its events, and for clocks that differ."""
MARK_KEPT = timedelta(days=1)
NOT_LOST = ""


def countable(tenant_ids: Collection[UUID], now: datetime) -> dict[UUID, str]:
    """Those of the unknown that nothing is awaited of, each with the mark of its loss or ``NOT_LOST``.

    Whoever may have requests under way is marked when first seen here. Raises ``REDIS_AWAY``.
    """
    marks = _marks(tenant_ids)
    unmarked = [pk for pk in tenant_ids if pk not in marks]
    served = _may_run(unmarked, now)
    _mark(served, now)
    return {pk: NOT_LOST for pk in unmarked if pk not in served} | _over(marks, now)


def _marks(tenant_ids: Collection[UUID]) -> dict[UUID, str]:
    ids = list(tenant_ids)
    names = [keys.spend_lost(str(pk)) for pk in ids]
    held = cast("list[bytes | None]", redis_client().mget(names)) if names else []
    return {pk: raw.decode() for pk, raw in zip(ids, held, strict=True) if raw is not None}


def _mark(tenant_ids: Collection[UUID], now: datetime) -> None:
    with redis_client().pipeline(transaction=False) as pipeline:
        for pk in tenant_ids:
            milliseconds = int(now.timestamp() * 1000)
            pipeline.set(keys.spend_lost(str(pk)), milliseconds, ex=MARK_KEPT, nx=True)
        pipeline.execute()


def _may_run(tenant_ids: Collection[UUID], now: datetime) -> set[UUID]:
    """Whoever gateways know, was heard of lately, or has something of a request in Redis."""
    since = now - RECENT
    heard = {
        pk
        for found in (
            GatewayUsage.objects.filter(tenant_id__in=tenant_ids, ts__gte=since),
            EngineUsage.objects.filter(tenant_id__in=tenant_ids, ts__gte=since),
            PendingRequest.objects.filter(tenant_id__in=tenant_ids),
        )
        for pk in found.order_by().values_list("tenant_id", flat=True).distinct()
        if pk is not None
    }
    return heard | _published(tenant_ids) | _present(tenant_ids)


def _published(tenant_ids: Collection[UUID]) -> set[UUID]:
    """A first request that still runs is in no table; but gateways serve only whom they were told of."""
    newest = PublishedSnapshot.objects.filter(delivered_at__isnull=False).first()
    if newest is None:
        return set()
    told = Tenant.objects.filter(pk__in=tenant_ids, created_at__lte=newest.published_at)
    return set(told.order_by().values_list("pk", flat=True))


def _present(tenant_ids: Collection[UUID]) -> set[UUID]:
    ids = list(tenant_ids)
    with redis_client().pipeline(transaction=False) as pipeline:
        for pk in ids:
            pipeline.exists(keys.holds(str(pk)), keys.leases(str(pk), keys.TENANT_SCOPE))
        return {pk for pk, count in zip(ids, pipeline.execute(), strict=True) if count}


def _over(marks: Mapping[UUID, str], now: datetime) -> dict[UUID, str]:
    if not marks or ingest_lags(now):
        return {}
    oldest = _oldest_unrated(marks)
    return {
        pk: marks[pk]
        for pk, longest in _longest(marks).items()
        if now >= _time(marks[pk]) + longest + MARGIN
        and (pk not in oldest or oldest[pk] > _time(marks[pk]) + MARGIN)
    }


def _longest(tenant_ids: Collection[UUID]) -> dict[UUID, timedelta]:
    """From an admission to the end of its request: the wait for a seat, then the run."""
    rows = Tenant.objects.filter(pk__in=tenant_ids).order_by()
    columns = ("pk", "tier__queue_wait_seconds", "tier__request_timeout_seconds")
    return {pk: timedelta(seconds=wait + run) for pk, wait, run in rows.values_list(*columns)}


def _oldest_unrated(tenant_ids: Collection[UUID]) -> dict[UUID, datetime]:
    waiting = PendingRequest.objects.filter(
        Q(settle_micro__isnull=True, problem=""), tenant_id__in=tenant_ids
    )
    rows = waiting.order_by().values_list("tenant_id").annotate(oldest=Min("ts"))
    return {pk: oldest for pk, oldest in rows if pk is not None}


def _time(mark: str) -> datetime:
    return datetime.fromtimestamp(int(mark) / 1000, UTC)
