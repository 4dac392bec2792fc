"""Windows, percentiles and wording: arithmetic alone."""

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.core.windows import CHOICES, floor, month_to_date, window
from portal.core.wording import change, latency, money, short
from portal.home.quantiles import GROWTH, quantile

moments = st.integers(0, 15 * 365 * 86_400).map(
    lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


class TestWindow:
    @given(now=moments, key=st.sampled_from(sorted(CHOICES)))
    def test_begins_on_an_edge_and_the_one_before_is_as_long(self, now: datetime, key: str) -> None:
        shown = window(key, now)

        assert shown.current.end == now
        assert floor(shown.current.start, shown.choice.bucket) == shown.current.start
        assert shown.current.end - shown.current.start == shown.previous.end - shown.previous.start
        assert shown.previous.end <= shown.current.start
        assert shown.buckets()[-1] <= now < shown.buckets()[-1] + shown.choice.bucket

    def test_an_unknown_choice_is_the_last_24_hours(self) -> None:
        assert window("year", datetime(2026, 11, 21, tzinfo=UTC)).choice.key == "24h"

    def test_the_month_before_is_cut_at_its_end(self) -> None:
        this, before = month_to_date(datetime(2026, 3, 31, 12, tzinfo=UTC))

        assert this.start == datetime(2026, 3, 1, tzinfo=UTC)
        assert (before.start, before.end) == (
            datetime(2026, 2, 1, tzinfo=UTC),
            datetime(2026, 3, 1, tzinfo=UTC),
        )


class TestQuantile:
    @given(
        values=st.lists(st.integers(min_value=1, max_value=10**9), min_size=1, max_size=200),
        share=st.sampled_from([0.5, 0.95, 0.99]),
    )
    def test_is_within_two_percent_of_the_exact_one(self, values: list[int], share: float) -> None:
        bins = Counter(math.floor(math.log(value) / math.log(GROWTH)) for value in values)
        exact = sorted(values)[math.ceil(share * len(values)) - 1]

        assert quantile(bins, share) == pytest.approx(exact, rel=0.02)

    def test_of_nothing_is_unknown(self) -> None:
        assert quantile({}, 0.95) is None


class TestWording:
    @pytest.mark.parametrize(
        ("value", "text"),
        [(0, "0"), (9_999, "9,999"), (12_345, "12.3K"), (1_234_567, "1.2M"), (250_000_000, "250M")],
    )
    def test_large_numbers_are_shortened(self, value: int, text: str) -> None:
        assert short(value) == text

    def test_money_has_two_decimals_and_the_rest_beside(self) -> None:
        amount = money(Decimal("1234.567890"), "USD")

        assert str(amount) == "1,234.57 USD"
        assert amount.exact == "1234.56789 USD"

    def test_a_change_from_nothing_says_nothing(self) -> None:
        assert change(5, 0) == ""
        assert change(150, 100) == "+50 %"
        assert change(50, 100) == "−50 %"  # noqa: RUF001

    def test_latency_is_in_the_unit_that_fits(self) -> None:
        assert latency(250_000).text == "250 ms"
        assert latency(2_500_000).text == "2.50 s"
        assert latency(None).text == "—"


def test_a_floor_is_at_most_one_step_back() -> None:
    moment = datetime(2026, 11, 21, 12, 34, 56, tzinfo=UTC)

    assert floor(moment, timedelta(minutes=1)) == datetime(2026, 11, 21, 12, 34, tzinfo=UTC)
    assert floor(moment, timedelta(days=1)) == datetime(2026, 11, 21, tzinfo=UTC)
