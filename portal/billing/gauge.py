"""A tenant's spending of the running day and month against its limits, and where the month ends."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Sum
from django.db.models.functions import TruncDay

from portal.billing.forecast import Forecast, forecast
from portal.billing.models import LedgerEntry
from portal.billing.months import bounds_of, day_bounds, month_of
from portal.billing.selectors import AMOUNT

LAST_DAYS = 14
MUCH, ALL = 80, 100
_DAY_SECONDS = Decimal(86_400)


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """Money in ``currency``; what the ledger says, so what is running is not in it. Limits None: none."""

    currency: str
    today: Decimal
    month: Decimal
    daily_limit: Decimal | None
    monthly_limit: Decimal | None
    forecast: Forecast | None
    month_ends: datetime

    @property
    def day_share(self) -> int | None:
        return _share(self.today, self.daily_limit)

    @property
    def month_share(self) -> int | None:
        return _share(self.month, self.monthly_limit)

    @property
    def month_bar(self) -> int:
        return min(ALL, self.month_share or 0)

    @property
    def day_bar(self) -> int:
        return min(ALL, self.day_share or 0)

    @property
    def forecast_bar(self) -> int:
        """What the forecast adds to the bar of the month."""
        end = _share(self.forecast.expected, self.monthly_limit) if self.forecast else None
        return min(ALL, end or 0) - min(self.month_bar, end or 0)

    @property
    def month_level(self) -> str:
        return _level(self.month_share)

    @property
    def day_level(self) -> str:
        return _level(self.day_share)

    @property
    def forecast_over(self) -> bool:
        return bool(self.forecast and self.monthly_limit and self.forecast.expected > self.monthly_limit)


def _level(share: int | None) -> str:
    if share is None or share < MUCH:
        return "fine"
    return "full" if share >= ALL else "much"


def _share(part: Decimal, whole: Decimal | None) -> int | None:
    if whole is None:
        return None
    return int(100 * part / whole) if whole else ALL


def tenant_gauge(
    tenant_id: UUID,
    zone: str,
    now: datetime,
    *,
    currency: str,
    daily_limit: Decimal | None,
    monthly_limit: Decimal | None,
) -> Gauge:
    """One query: days of this month and of the two weeks before today, in the tenant's zone."""
    start, end = bounds_of(month_of(now, zone), zone)
    today, _ = day_bounds(now, zone)
    since = min(start, today - timedelta(days=LAST_DAYS + 1))
    days = _days(tenant_id, zone, since, now, currency)
    first, last = start.astimezone(ZoneInfo(zone)).date(), now.astimezone(ZoneInfo(zone)).date()
    month = sum((amount for day, amount in days.items() if day >= first), Decimal(0))
    begun = min(days, default=last)
    whole = [last - timedelta(days=back) for back in range(1, LAST_DAYS + 1)]
    seen = [days[day] for day in whole if day >= begun]
    left = Decimal((end - now).total_seconds()) / _DAY_SECONDS
    return Gauge(
        currency=currency,
        today=days[last],
        month=month,
        daily_limit=daily_limit,
        monthly_limit=monthly_limit,
        forecast=forecast(month, seen, left),
        month_ends=end.astimezone(UTC),
    )


def _days(
    tenant_id: UUID, zone: str, since: datetime, now: datetime, currency: str
) -> "defaultdict[date, Decimal]":
    rows = (
        LedgerEntry.objects.filter(tenant_id=tenant_id, ts__gte=since, ts__lte=now, currency=currency)
        .order_by()
        .values_list(TruncDay("ts", tzinfo=ZoneInfo(zone)))
        .annotate(total=Sum(AMOUNT))
    )
    found: defaultdict[date, Decimal] = defaultdict(Decimal)
    for day, total in rows:
        found[day.date()] += total or Decimal(0)
    return found
