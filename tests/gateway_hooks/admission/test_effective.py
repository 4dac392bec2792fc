"""Temporary raises: in force from their start until their end, exclusive."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.admission.effective import effective
from gateway_hooks.contract.snapshot import Limits, TemporaryLimits

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
END = START + timedelta(hours=1)
BASE = Limits(requests_per_minute=10, monthly_spend_micro=100)


def raised(limits: Limits, name: str = "r1") -> TemporaryLimits:
    return TemporaryLimits(id=name, limits=limits, starts_at=START, until=END)


@given(minutes=st.integers(-90, 90))
def test_a_raise_is_in_force_from_its_start_until_its_end(minutes: int):
    now = START + timedelta(minutes=minutes)

    found = effective(BASE, [raised(Limits(requests_per_minute=50))], now)

    assert found.requests_per_minute == (50 if START <= now < END else 10)
    assert found.monthly_spend_micro == 100


def test_what_a_raise_does_not_set_stays_and_of_several_the_greatest_counts():
    raises = [
        raised(Limits(requests_per_minute=60)),
        raised(Limits(requests_per_minute=50), "r2"),
    ]

    found = effective(BASE, raises, START)

    assert found == Limits(requests_per_minute=60, monthly_spend_micro=100)


limits = st.builds(
    Limits,
    requests_per_minute=st.none() | st.integers(1, 99),
    daily_spend_micro=st.none() | st.integers(0, 99),
)


@given(usual=limits, raises=st.lists(limits, max_size=3))
def test_a_raise_never_lowers_a_limit_nor_sets_one_where_there_is_none(usual: Limits, raises: list[Limits]):
    found = effective(usual, [raised(one) for one in raises], START)

    for kind in ("requests_per_minute", "daily_spend_micro"):
        values = [getattr(one, kind) for one in (usual, *raises) if getattr(one, kind) is not None]
        assert getattr(found, kind) == (None if getattr(usual, kind) is None else max(values))


def test_without_a_raise_the_limits_are_the_tenants_own():
    assert effective(BASE, (), START) is BASE
