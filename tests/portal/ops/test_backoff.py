from portal.ops.backoff import LONGEST_SECONDS, STEADY_SECONDS, Backoff


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff()
    backoff.started(0.0)

    waits = [backoff.ended(1.0) for _ in range(7)]

    assert waits == [1, 2, 4, 8, 16, LONGEST_SECONDS, LONGEST_SECONDS]


def test_a_service_that_was_steady_starts_over_with_a_short_wait() -> None:
    backoff = Backoff()
    backoff.started(0.0)
    for _ in range(5):
        backoff.ended(1.0)

    backoff.started(100.0)

    assert backoff.ended(100.0 + STEADY_SECONDS) == 1
