"""Closes a month: takes in what is there, says what stands against it, computes, freezes.

A finding either blocks for good, or may be accepted by whoever closes, or is only a note. What was
accepted and noted is kept with the period for ever.
"""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from portal.billing import services
from portal.billing.arrivals import ingest_lags
from portal.billing.conf import join_grace
from portal.billing.costing import CENT, WorkerKey, gaps, worker_bills, write_cost_lines
from portal.billing.costs import Bill
from portal.billing.errors import PeriodError
from portal.billing.models import BillingPeriod, CostLine, LedgerEntry, PeriodState
from portal.billing.months import next_month
from portal.billing.periods import find_period, hold_books
from portal.billing.selectors import tenant_summary
from portal.billing.shipping import not_shipped
from portal.core.redis import REDIS_AWAY
from portal.core.words import count
from portal.fleet.services import sync_fleet
from portal.usage.models import ParkedEvent, PendingRequest
from portal.usage.services import Ingested, hold_ingest, ingest

Weight = Literal["blocks", "accept", "note"]

REQUESTS = ("request", "requests")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about a period. ``code`` is stable."""

    code: str
    weight: Weight
    count: int
    message: str


class CloseRefusedError(PeriodError):
    """Findings that were not accepted stand against the close."""

    code = "close_refused"

    def __init__(self, month: str, findings: list[Finding]) -> None:
        self.findings = findings
        reasons = "\n".join(f"- {finding.code}: {finding.message}" for finding in findings)
        super().__init__(f"{month} was not closed:\n{reasons}")


def drain(now: datetime) -> tuple[Ingested, services.Rated]:
    """Take in and rate all that is there, and learn who keeps something back."""
    services.retry_problems()
    sync_fleet(now)
    ingested = ingest(now)
    return ingested, services.rate_requests(now)


def half_known(period: BillingPeriod) -> int:
    """Requests of the period, or of earlier months, that wait for one of their events."""
    return services.undecided().filter(ts__lt=period.end).count()


def findings(period: BillingPeriod, *, now: datetime) -> list[Finding]:
    """All that is to say about the period before it is closed; of a closed one, nothing."""
    return [] if period.state == PeriodState.CLOSED else list(_findings(period, now))


def all_findings(period: BillingPeriod, *, now: datetime) -> list[Finding]:
    """Those of the costs too, which takes their computation."""
    if period.state == PeriodState.CLOSED:
        return []
    return findings(period, now=now) + _cost_findings(worker_bills(period))


def statement(period: BillingPeriod, *, now: datetime) -> str:
    """What closing at ``now`` means, in words."""
    following = next_month(period.month)
    late = f"Usage of {period.month} that arrives later is billed in {following}."
    if now < period.end:
        return (
            f"{period.month} has not ended: requests admitted from now on are billed in {following}. {late}"
        )
    return late


def close_period(
    month: str, *, user: AbstractBaseUser | None, now: datetime, accept: Collection[str] = ()
) -> BillingPeriod:
    """Freeze the month. Raises ``PeriodError``, of which ``CloseRefusedError`` lists all reasons."""
    with transaction.atomic():
        hold_ingest()
        hold_books()
        period = BillingPeriod.objects.select_for_update().get(pk=find_period(month).pk)
        _check_order(period, now)
        found = findings(period, now=now)
        standing = [
            finding
            for finding in found
            if finding.weight == "blocks" or (finding.weight == "accept" and finding.code not in accept)
        ]
        # Everything is computed before refusing, so that a worker without a rate is told with the rest.
        bills = write_cost_lines(period)
        standing += [one for one in _cost_findings(bills) if one.code not in accept]
        found += _cost_findings(bills)
        if standing:
            raise CloseRefusedError(month, standing)
        period.totals = _totals(period, bills, found, now)
        period.state, period.closed_at, period.closed_by_id = (
            PeriodState.CLOSED,
            now,
            user.pk if user else None,
        )
        period.save(update_fields=["totals", "state", "closed_at", "closed_by"])
    return period


def _check_order(period: BillingPeriod, now: datetime) -> None:
    if period.state == PeriodState.CLOSED:
        message = f"{period.month} is already closed, since {period.closed_at:%Y-%m-%d %H:%M} UTC."
        raise PeriodError(message, code="period_closed")
    if now < period.start:
        message = f"{period.month} has not begun."
        raise PeriodError(message, code="period_not_begun")
    earlier = BillingPeriod.objects.filter(state=PeriodState.OPEN, month__lt=period.month).first()
    if earlier is not None:
        message = f"Close {earlier.month} first: months are closed in order."
        raise PeriodError(message, code="earlier_period_open")


def _findings(period: BillingPeriod, now: datetime) -> Iterator[Finding]:
    following = next_month(period.month)
    yield from _stream_findings(now)
    if elsewhere := not_shipped(period, now=now):
        message = f"usage may be elsewhere: {'; '.join(elsewhere)}. Accepted: billed in {following}."
        yield Finding(code="events_not_shipped", weight="accept", count=len(elsewhere), message=message)
    entries = LedgerEntry.objects.filter(period=period)
    counts: list[tuple[str, Weight, int, tuple[str, str], str]] = [
        (
            "requests_waiting",
            "accept",
            half_known(period),
            REQUESTS,
            f"without one of the two events; accepted: billed in {following}.",
        ),
        (
            "requests_without_price",
            "accept",
            entries.filter(rate__isnull=True, corrects__isnull=True).count(),
            REQUESTS,
            "without a price: charged nothing.",
        ),
        (
            "requests_of_unknown_tenant",
            "note",
            PendingRequest.objects.filter(problem=services.TENANT_UNKNOWN, ts__lt=period.end).count(),
            REQUESTS,
            "of a tenant that does not exist: nobody is billed.",
        ),
        (
            "tokens_unknown",
            "note",
            entries.filter(tokens_known=False, corrections__isnull=True).count(),
            REQUESTS,
            "at a worker whose event never came: charged nothing.",
        ),
        (
            "without_engine_event",
            "note",
            entries.filter(
                source=LedgerEntry.Source.GATEWAY_ONLY, tokens_known=True, corrections__isnull=True
            ).count(),
            REQUESTS,
            "billed by the gateway's counts alone, without GPU time.",
        ),
        (
            "without_gateway_event",
            "note",
            entries.filter(source=LedgerEntry.Source.ENGINE_ONLY).count(),
            REQUESTS,
            "billed by the engine's event alone.",
        ),
        (
            "worker_time_gaps",
            "note",
            len(gaps(period)),
            ("hole or overlap", "holes or overlaps"),
            "in the workers' metered time.",
        ),
        (
            "events_parked",
            "note",
            ParkedEvent.objects.count(),
            ("event", "events"),
            "parked because nobody could read it.",
        ),
    ]
    for code, weight, number, noun, says in counts:
        if number:
            yield Finding(code=code, weight=weight, count=number, message=f"{count(number, *noun)} {says}")


def _stream_findings(now: datetime) -> Iterator[Finding]:
    try:
        waiting = ingest_lags(now)
    except REDIS_AWAY:
        message = "Redis cannot be reached: usage may wait there."
        yield Finding(code="redis_away", weight="accept", count=1, message=message)
        return
    if waiting:
        message = "events in Redis are not taken in: is Celery running? Closing by command takes them in."
        yield Finding(code="events_not_ingested", weight="blocks", count=waiting, message=message)


def _cost_findings(bills: dict[WorkerKey, Bill]) -> list[Finding]:
    names = sorted(worker for (worker, _currency), bill in bills.items() if bill.unpriced_ns)
    if not names:
        return []
    workers = count(len(names), "worker")
    message = f"{workers} in a pool without an hourly rate: {', '.join(names)}. That time costs nothing."
    return [Finding(code="workers_without_rate", weight="accept", count=len(names), message=message)]


def _totals(
    period: BillingPeriod, bills: dict[WorkerKey, Bill], found: list[Finding], now: datetime
) -> dict[str, Any]:
    tenants = tenant_summary(period)
    charges = _by_currency((row.currency, row.charge) for row in tenants)
    return {
        "requests": sum(row.requests for row in tenants),
        "prompt_tokens": sum(row.prompt_tokens for row in tenants),
        "cached_tokens": sum(row.cached_tokens for row in tenants),
        "completion_tokens": sum(row.completion_tokens for row in tenants),
        "gpu_ns": sum(row.gpu_ns for row in tenants),
        "charge": {currency: f"{total:f}" for currency, total in charges.items()},
        "charge_rounded": {
            currency: f"{total.quantize(CENT, rounding=ROUND_HALF_UP):f}"
            for currency, total in charges.items()
        },
        "bills": {
            currency: f"{total:f}"
            for currency, total in _by_currency(
                (currency, bill.cents * CENT) for (_worker, currency), bill in bills.items()
            ).items()
        },
        "cost_by_kind": {
            kind: {
                currency: f"{total:f}"
                for currency, total in _by_currency(
                    CostLine.objects.filter(period=period, kind=kind).values_list("currency", "amount")
                ).items()
            }
            for kind in CostLine.Kind.values
        },
        "findings": [asdict(finding) for finding in found],
        "statement": statement(period, now=now),
        "join_grace_seconds": int(join_grace().total_seconds()),
    }


def _by_currency(rows: Any) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for currency, amount in rows:
        totals[currency] = totals.get(currency, Decimal(0)) + amount
    return dict(sorted(totals.items()))
