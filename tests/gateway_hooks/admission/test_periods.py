"""The day and month of a request, in the tenant's zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.admission.periods import day_and_month

ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "Australia/Lord_Howe"]
)
TIMES = st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(ts=TIMES, zone=ZONES)
def test_a_period_ends_where_the_next_begins(ts: datetime, zone: str):
    for index in range(2):
        period = day_and_month(ts, zone)[index]
        end = datetime.fromtimestamp(period.ends_ms / 1000, UTC)
        last = end - timedelta(milliseconds=1)

        assert ts < end
        assert day_and_month(last, zone)[index] == period
        assert day_and_month(end, zone)[index].name > period.name
        assert ts.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d").startswith(period.name)


@pytest.mark.parametrize(("date", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 11, 21), 24)])
def test_a_day_is_as_long_as_the_clocks_make_it(date: tuple[int, int, int], hours: int):
    midnight = datetime(*date, tzinfo=ZoneInfo("Europe/Berlin"))

    day, _ = day_and_month(midnight, "Europe/Berlin")

    assert day.ends_ms - midnight.timestamp() * 1000 == hours * 3600 * 1000
