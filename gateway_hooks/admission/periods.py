"""The calendar day and month that a request's money counts in."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec


class Period(msgspec.Struct, frozen=True):
    """``name`` is YYYY-MM-DD or YYYY-MM; it ends at ``ends_ms`` (since 1970), exclusive."""

    name: str
    ends_ms: int


def day_and_month(ts: datetime, billing_timezone: str) -> tuple[Period, Period]:
    """Those of ``ts`` in the tenant's zone. Days have 23 or 25 hours where clocks change."""
    zone = ZoneInfo(billing_timezone)
    day = ts.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    month = day.replace(day=1)
    next_month = (month + timedelta(days=31)).replace(day=1)
    return (
        Period(day.strftime("%Y-%m-%d"), _milliseconds(day + timedelta(days=1))),
        Period(month.strftime("%Y-%m"), _milliseconds(next_month)),
    )


def _milliseconds(local: datetime) -> int:
    return round(local.timestamp() * 1000)
