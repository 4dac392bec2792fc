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


def test_what_a_raise_does_not_set_stays_and_of_several_the_last_counts():
    raises = [
        raised(Limits(requests_per_minute=50, tokens_per_minute=7)),
        raised(Limits(requests_per_minute=60), "r2"),
    ]

    found = effective(BASE, raises, START)

    assert found == Limits(requests_per_minute=60, tokens_per_minute=7, monthly_spend_micro=100)


def test_without_a_raise_the_limits_are_the_tenants_own():
    assert effective(BASE, (), START) is BASE
