"""Reads what workers did in a period and keeps its cost lines up to date until it closes."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, F, Q, QuerySet, Sum

from portal.billing.costs import Bill, Metered, Segment, bill_worker, clip, ns_of, segments
from portal.billing.models import BillingPeriod, CostLine, LedgerEntry, PeriodState
from portal.billing.months import month_of
from portal.billing.periods import closed_through, open_period
from portal.fleet.models import NodeRate
from portal.usage.models import WorkerTime

DEFAULT_CURRENCY = "USD"
_COSTS_LOCK = 0x746E_0003
CENT = Decimal("0.01")
_EPOCH = datetime.fromtimestamp(0, tz=UTC)

WorkerKey = tuple[str, str]
"""(worker id, currency)."""


@dataclass(frozen=True)
class Window:
    """Stretches in ``[start, end)`` that a period pays for: all, or only what arrived ``after`` a close."""

    start: datetime
    end: datetime
    after: datetime | None = None

    def stretches(self) -> QuerySet[WorkerTime]:
        found = WorkerTime.objects.filter(ts__lt=self.end, end__gt=self.start)
        return found if self.after is None else found.filter(ingested_at__gt=self.after)


def refresh_open_periods(now: datetime) -> list[str]:
    """Recompute the cost lines of every open period that has begun; the months that were done.

    One at a time: who comes while another one is at it has nothing to do.
    """
    with transaction.atomic():
        if not _try_lock():
            return []
        closed = closed_through()
        if closed is None or month_of(now) > closed:
            open_period(month_of(now))
        periods = BillingPeriod.objects.select_for_update().filter(state=PeriodState.OPEN, start__lte=now)
        for period in periods:
            write_cost_lines(period)
        return [period.month for period in periods]


def write_cost_lines(period: BillingPeriod) -> dict[WorkerKey, Bill]:
    """Replace the period's cost lines in the running transaction, which holds the period's row."""
    bills = worker_bills(period)
    CostLine.objects.filter(period=period).delete()
    CostLine.objects.bulk_create(
        CostLine(
            period=period,
            worker_id=worker,
            kind=line.kind,
            tenant_id=UUID(line.tenant) if line.tenant else None,
            ns=line.ns,
            amount=line.cents * CENT,
            currency=currency,
        )
        for (worker, currency), bill in sorted(bills.items())
        for line in bill.lines
    )
    return bills


def worker_bills(period: BillingPeriod) -> dict[WorkerKey, Bill]:
    metered: dict[WorkerKey, list[Metered]] = defaultdict(list)
    for window in windows(period):
        for pool_id in window.stretches().order_by().values_list("pool_id", flat=True).distinct():
            for segment in _segments(pool_id, window):
                for worker, part in _metered(window, pool_id, segment):
                    metered[worker, segment.currency].append(part)
    shares = _shares(period)
    bills: dict[WorkerKey, Bill] = {}
    charged: set[str] = set()
    for worker, currency in sorted(metered, key=lambda key: (key[0], -_money(metered[key]), key[1])):
        # A worker paid in two currencies within a month: its requests count on the larger part.
        own = {} if worker in charged else shares.get(worker, {})
        charged.add(worker)
        bills[worker, currency] = bill_worker(metered[worker, currency], own)
    return bills


def windows(period: BillingPeriod) -> list[Window]:
    """The period's own month; for the first open one also what came too late for closed months."""
    closed = BillingPeriod.objects.filter(state=PeriodState.CLOSED).order_by("-month").first()
    first_open = BillingPeriod.objects.filter(state=PeriodState.OPEN).order_by("month").first()
    if closed is None or first_open is None or first_open.pk != period.pk:
        return [Window(period.start, period.end)]
    return [Window(_EPOCH, closed.end, after=closed.closed_at), Window(closed.end, period.end)]


def gaps(period: BillingPeriod) -> list[tuple[str, datetime, datetime]]:
    """Stretches of one boot should touch: (worker, from, to) where they do not, or overlap."""
    sql = """
      SELECT worker_id, before, ts FROM (
        SELECT worker_id, ts, lag("end") OVER (PARTITION BY worker_id, boot_id ORDER BY ts, "end") AS before
        FROM usage_workertime WHERE ts < %s AND "end" > %s) AS stretches
      WHERE abs(extract(epoch FROM ts - before)) > 0.001 ORDER BY 1, 2, 3
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, [period.end, period.start])
        return [(str(worker), before, ts) for worker, before, ts in cursor.fetchall()]


def _money(parts: list[Metered]) -> int:
    return sum((part.rate_micro or 0) * part.wall_ns for part in parts)


def _segments(pool_id: str, window: Window) -> list[Segment]:
    own = Q(pool_id=int(pool_id)) if pool_id.isdecimal() else Q(pk__in=[])
    rates = NodeRate.objects.filter(own).values_list("effective_from", "hourly_rate", "currency")
    return list(segments(window.start, window.end, rates, currency=DEFAULT_CURRENCY))


def _metered(window: Window, pool_id: str, segment: Segment) -> Iterator[tuple[str, Metered]]:
    """By worker: what lies inside the segment, summed by PostgreSQL; what crosses an edge, one by one."""
    touching = window.stretches().filter(pool_id=pool_id, ts__lt=segment.end, end__gt=segment.start)
    inside = Q(ts__gte=segment.start, end__lte=segment.end)
    sums = (
        touching.filter(inside)
        .order_by()
        .values_list("worker_id")
        .annotate(Sum("startup_ns"), Sum("busy_ns"), wall=Sum(F("end") - F("ts")), stretches=Count("pk"))
    )
    for worker, startup_ns, busy_ns, wall, _stretches in sums:
        yield (
            worker,
            Metered(
                wall_ns=ns_of(wall if isinstance(wall, timedelta) else timedelta()),
                startup_ns=int(startup_ns),
                busy_ns=int(busy_ns),
                rate_micro=segment.rate_micro,
            ),
        )
    for row in touching.exclude(inside):
        yield (
            row.worker_id,
            clip(row.ts, row.end, startup_ns=row.startup_ns, busy_ns=row.busy_ns, segment=segment),
        )


def _shares(period: BillingPeriod) -> dict[str, dict[str, int]]:
    """Nanoseconds by worker and tenant, of the requests that are billed in the period.

    Shadow copies and abandoned tries have no entry: their time is the residual, which the platform pays.
    """
    shares: dict[str, dict[str, int]] = defaultdict(dict)
    rows = (
        LedgerEntry.objects.filter(period=period)
        .exclude(gpu_ns=0)
        .order_by()
        .values_list("worker_id", "tenant_id")
        .annotate(ns=Sum("gpu_ns"))
        # What a correction takes back from a closed month was paid there.
        .filter(ns__gt=0)
    )
    for worker, tenant_id, ns in rows:
        shares[worker][str(tenant_id)] = int(ns)
    return shares


def _try_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_COSTS_LOCK])
        return bool(cursor.fetchone()[0])
