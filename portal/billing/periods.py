"""Billing periods: which one a moment is billed in, and the lock that keeps the books still."""

from datetime import datetime

from django.db import connection
from django.db.models import Max

from portal.billing.errors import PeriodError
from portal.billing.models import BillingPeriod, PeriodState
from portal.billing.months import bounds_of, month_of, next_month

_BOOKS_LOCK = 0x746E_0002
"""Advisory lock: shared by those who write entries, exclusive for a close."""


def share_books() -> None:
    """Keep closes out until the running transaction ends; waits for one that is under way."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_BOOKS_LOCK])


def hold_books() -> None:
    """Keep every writer of entries out until the running transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_BOOKS_LOCK])


def closed_through() -> str | None:
    """The last closed month. All months up to it are closed, whether they have a row or not."""
    months = BillingPeriod.objects.filter(state=PeriodState.CLOSED)
    last: str | None = months.aggregate(last=Max("month"))["last"]
    return last


def open_period(month: str) -> BillingPeriod:
    """The open period of ``month``, made if need be. Raises ``PeriodError`` ``period_closed``."""
    start, end = bounds_of(month)
    closed = closed_through()
    if closed is not None and month <= closed:
        message = f"{month} is closed: the books are closed through {closed}."
        raise PeriodError(message, code="period_closed")
    period, _made = BillingPeriod.objects.get_or_create(month=month, defaults={"start": start, "end": end})
    return period


def billed_month(ts: datetime) -> str:
    """The month of ``ts``, or the first open one if that month is closed."""
    month, closed = month_of(ts), closed_through()
    return month if closed is None or month > closed else next_month(closed)


def period_for(ts: datetime) -> BillingPeriod:
    """The open period in which something of ``ts`` is billed. Call it with the books shared or held."""
    return open_period(billed_month(ts))


def find_period(month: str) -> BillingPeriod:
    bounds_of(month)
    period = BillingPeriod.objects.filter(month=month).first()
    if period is None:
        known = ", ".join(BillingPeriod.objects.order_by("month").values_list("month", flat=True)) or "none"
        message = f"There is no billing period {month}. Known periods: {known}."
        raise PeriodError(message, code="period_unknown")
    return period
