from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.fairness.waits import LEAST_SECONDS, MOST_SECONDS, RecentWaits


def test_without_any_wait_a_client_comes_back_soon():
    assert RecentWaits().retry_after("pool") == LEAST_SECONDS


@given(seconds=st.lists(st.floats(0, 1000), min_size=1))
def test_the_estimate_lies_between_the_waits_that_were_seen_and_within_its_limits(seconds: list[float]):
    waits = RecentWaits()

    for one in seconds:
        waits.note("pool", one)

    low, high = min(seconds), max(seconds)
    estimate = waits.retry_after("pool")
    assert LEAST_SECONDS <= estimate <= MOST_SECONDS
    assert min(low, MOST_SECONDS) - 1e-6 <= estimate <= max(high, LEAST_SECONDS) + 1e-6


def test_a_pools_waits_say_nothing_of_another():
    waits = RecentWaits()
    waits.note("busy", 30)

    assert (waits.retry_after("busy"), waits.retry_after("idle")) == (30, LEAST_SECONDS)
