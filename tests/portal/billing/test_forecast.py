"""Where a month's spending ends, and the gauge that shows it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.billing.forecast import forecast
from portal.billing.gauge import tenant_gauge
from tests import factories
from tests.portal.home import events

amounts = st.decimals(min_value=0, max_value=10**6, places=6)


class TestForecast:
    def test_even_days_go_on_and_leave_no_doubt(self) -> None:
        found = forecast(Decimal(10), [Decimal(2)] * 5, Decimal(4))

        assert found is not None
        assert (found.expected, found.low, found.high, found.days) == (18, 18, 18, 5)

    def test_too_few_days_tell_nothing(self) -> None:
        assert forecast(Decimal(10), [Decimal(2)] * 2, Decimal(4)) is None

    @given(
        amounts, st.lists(amounts, min_size=3, max_size=14), st.decimals(min_value=0, max_value=31, places=3)
    )
    def test_the_range_holds_the_expected_end_and_never_less_than_is_spent(
        self, spent: Decimal, days: list[Decimal], left: Decimal
    ) -> None:
        found = forecast(spent, days, left)

        assert found is not None
        assert spent <= found.low <= found.expected <= found.high

    @given(st.lists(amounts, min_size=3, max_size=14), st.decimals(min_value=1, max_value=30, places=3))
    def test_more_days_left_widen_the_range(self, days: list[Decimal], left: Decimal) -> None:
        near, far = forecast(Decimal(0), days, left), forecast(Decimal(0), days, left + 1)

        assert near is not None
        assert far is not None
        assert far.high - far.expected >= near.high - near.expected


@pytest.mark.django_db
class TestGauge:
    def test_days_and_months_are_of_the_tenants_zone(self) -> None:
        tenant = factories.make_tenant(billing_timezone="Asia/Tokyo")
        now = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)  # half past midnight of the 22nd in Tokyo
        events.entry(tenant, now - timedelta(minutes=10), "3")
        events.entry(tenant, now - timedelta(hours=2), "4")
        events.entry(tenant, datetime(2026, 10, 31, 14, 0, tzinfo=UTC), "8")
        events.entry(tenant, datetime(2026, 10, 31, 15, 0, tzinfo=UTC), "16")

        found = tenant_gauge(
            tenant.pk,
            "Asia/Tokyo",
            now,
            currency="USD",
            daily_limit=Decimal(6),
            monthly_limit=Decimal(46),
        )

        assert (found.today, found.month) == (3, 23)
        assert (found.day_share, found.month_share) == (50, 50)
        assert found.month_ends == datetime(2026, 11, 30, 15, tzinfo=UTC)

    def test_two_weeks_of_days_make_a_forecast_and_a_bar_never_overflows(self) -> None:
        tenant = factories.make_tenant()
        now = datetime(2026, 11, 21, 12, tzinfo=UTC)
        for day in range(15):
            events.entry(tenant, now - timedelta(days=day, hours=1), "2")

        found = tenant_gauge(
            tenant.pk, "UTC", now, currency="USD", daily_limit=None, monthly_limit=Decimal(40)
        )

        assert found.forecast is not None
        assert found.forecast.expected == 30 + 2 * Decimal("9.5")
        assert found.forecast_over
        assert found.month_bar + found.forecast_bar == 100
        assert found.day_share is None

    def test_a_tenant_without_charges_has_a_gauge_at_nothing(self) -> None:
        found = tenant_gauge(
            factories.make_tenant().pk,
            "UTC",
            factories.NOW,
            currency="USD",
            daily_limit=Decimal(0),
            monthly_limit=None,
        )

        assert (found.today, found.month, found.forecast) == (0, 0, None)
        assert found.day_share == 100
