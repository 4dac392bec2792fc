"""Breakers: open after failures, one probe while half open, closed by a success."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.routing.breaker import CONNECTIONS, REQUESTS, Breaker, Breakers, Pair, Rule

RULE = Rule(consecutive=3, failures=5, outcomes=10, window=30.0, cooling=5.0)
ENDS = st.sampled_from(["success", "failure", "neutral"])


def opened(*, at: float = 0.0) -> Breaker:
    breaker = Breaker(RULE)
    for _ in range(RULE.consecutive):
        breaker.end("failure", at)
    return breaker


def test_it_opens_at_the_third_failure_in_a_row_and_says_so():
    breaker = Breaker(RULE)

    said = [breaker.end("failure", now) for now in (0.0, 0.1, 0.2, 0.3)]

    assert said == [False, False, True, False]
    assert (breaker.state(0.3), breaker.admits(0.3)) == ("open", False)


def test_a_success_in_between_starts_the_row_anew():
    breaker = Breaker(RULE)

    for verdict in ("failure", "failure", "success", "failure", "failure"):
        breaker.end(verdict, 0.0)

    assert breaker.state(0.0) == "closed"


def test_half_of_the_last_ten_failing_opens_it_though_never_three_in_a_row():
    breaker = Breaker(RULE)

    for index, verdict in enumerate(("failure", "success") * 5):
        breaker.end(verdict, float(index))

    assert breaker.state(9.0) == "open"


def test_failures_of_long_ago_do_not_count():
    breaker = Breaker(RULE)

    for index in range(10):
        breaker.end("failure" if index % 2 else "success", index * 20.0)

    assert breaker.state(200.0) == "closed"


def test_neutral_ends_neither_open_nor_close():
    breaker = opened()

    for _ in range(20):
        breaker.end("neutral", 6.0)

    assert breaker.state(6.0) == "half_open"


def test_while_half_open_one_request_goes_and_decides():
    breaker = opened()
    assert [breaker.admits(now) for now in (4.9, 5.0)] == [False, True]

    breaker.begin(5.0)

    assert not breaker.admits(5.1)
    breaker.end("success", 5.2)
    assert (breaker.state(5.2), breaker.admits(5.2)) == ("closed", True)


def test_a_failed_probe_opens_it_for_as_long_again():
    breaker = opened()
    breaker.begin(5.0)

    assert breaker.end("failure", 5.5)
    assert [breaker.admits(now) for now in (10.4, 10.5)] == [False, True]


def test_a_probe_that_says_nothing_lets_the_next_one_go():
    breaker = opened()
    breaker.begin(5.0)
    breaker.end("neutral", 5.1)

    assert breaker.admits(5.1)


def test_a_probe_that_never_ends_does_not_block_for_ever():
    breaker = opened()
    breaker.begin(5.0)

    assert [breaker.admits(now) for now in (34.9, 35.0)] == [False, True]


def test_what_started_before_it_opened_does_not_close_it():
    breaker = opened()

    breaker.end("success", 1.0)

    assert breaker.state(1.0) == "open"


@given(st.lists(st.tuples(ENDS, st.floats(0, 10)), max_size=60))
def test_it_is_never_open_longer_than_its_cooling_after_the_last_failure(
    steps: list[tuple[str, float]],
):
    breaker, now, failed_at = Breaker(RULE), 0.0, 0.0

    for verdict, pause in steps:
        now += pause
        if breaker.admits(now):
            breaker.begin(now)
        breaker.end(verdict, now)
        failed_at = now if verdict == "failure" else failed_at

    assert breaker.admits(failed_at + RULE.cooling) or now > failed_at + RULE.cooling


def test_a_pair_cools_neither_another_adapter_nor_another_worker_nor_another_tenant():
    breakers, broken = Breakers(REQUESTS), Pair("w1", "a" * 64, "acme")

    for now in range(3):
        breakers.end(broken, "failure", float(now))

    assert not breakers.admits(broken, 2.0)
    for other in (Pair("w1", "b" * 64, "acme"), Pair("w2", "a" * 64, "acme"), Pair("w1", None, "globex")):
        assert breakers.admits(other, 2.0)
    assert [(pair, state) for pair, state, _ in breakers.not_closed(2.0)] == [(broken, "open")]


def test_connections_refused_twice_open_the_way_for_a_second():
    breakers, way = Breakers(CONNECTIONS), Pair("w1")

    breakers.end(way, "failure", 0.0)
    breakers.end(way, "failure", 0.1)

    assert [breakers.admits(way, now) for now in (0.1, 1.0, 1.2)] == [False, False, True]


@pytest.mark.parametrize("count", [10, 1000])
def test_pairs_that_matter_no_more_are_forgotten(count: int):
    breakers = Breakers(REQUESTS)

    for number in range(count):
        breakers.end(Pair("w1", f"{number}"), "failure", number * 100.0)

    assert len(breakers._known) <= 2
