"""Calendar months and days ``[start, end)`` in UTC, and in a tenant's own zone. Pure."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from portal.billing.errors import PeriodError

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def month_of(moment: datetime, zone: str = "UTC") -> str:
    """``YYYY-MM`` of an aware moment as the calendars in ``zone`` show it."""
    return f"{moment.astimezone(_zone(zone)):%Y-%m}"


def bounds_of(month: str, zone: str = "UTC") -> tuple[datetime, datetime]:
    """First moment of the month and of the next one, in UTC. Raises ``PeriodError`` for no month."""
    start, following = (_first_day(name, zone) for name in (month, next_month(month)))
    return start, following


def day_of(moment: datetime, zone: str = "UTC") -> str:
    """``YYYY-MM-DD`` of an aware moment as the calendars in ``zone`` show it."""
    return f"{moment.astimezone(_zone(zone)):%Y-%m-%d}"


def day_bounds(moment: datetime, zone: str = "UTC") -> tuple[datetime, datetime]:
    """First moment of its day and of the next one, in UTC; where clocks change a day has 23 or 25 hours."""
    midnight = moment.astimezone(_zone(zone)).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (midnight + timedelta(days=1)).replace(fold=0)  # of the calendar, not of the clock
    return midnight.astimezone(UTC), following.astimezone(UTC)


def next_month(month: str) -> str:
    if not _MONTH.fullmatch(month) or month.startswith("0000") or month == "9999-12":
        message = f"{month!r} is no month: write YYYY-MM, such as 2026-11."
        raise PeriodError(message, code="month_malformed")
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


def _first_day(month: str, zone: str) -> datetime:
    return datetime(int(month[:4]), int(month[5:]), 1, tzinfo=_zone(zone)).astimezone(UTC)


def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
