"""Where a request goes after a try that failed before the first byte."""

from collections.abc import Container

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.snapshot import Target
from gateway_hooks.routing.course import MAX_TRIES, Course, Ending, Place
from tests.gateway_hooks.world import route, worker

NEW, OLD = route("b" * 64), route("a" * 64)
ENDINGS: tuple[Ending, ...] = (
    *("answered", "refused", "adapter", "failed", "busy", "broken", "unreachable", "local", "given_up"),
)


def places(*names: str, without: dict[str, str] | None = None) -> Place:
    """Workers in this order; ``without`` names those that cannot serve a digest."""

    def place(target: Target, avoid: Container[str]) -> WorkerRecord | None:
        unable = (without or {}).get(target.adapter_digest or "", "")
        able = [name for name in names if name not in avoid and name not in unable]
        return worker(f"http://{able[0]}", id=able[0]) if able else None

    return place


def walk(course: Course, place: Place, *endings: Ending) -> list[tuple[str, str, bool]]:
    """(worker, first letter of the digest, degraded) of each try, each ending as told."""
    went = []
    for ending in endings:
        step = course.next(place)
        if step is None:
            break
        went.append((step.worker.id, (step.target.adapter_digest or "-")[0], step.degraded))
        course.ended(step.worker.id, ending)
    else:
        assert course.next(place) is None
    return went


@pytest.mark.parametrize("ending", ["adapter", "failed", "busy", "unreachable"])
def test_every_try_goes_to_another_worker_and_there_are_three(ending: Ending):
    went = walk(Course(NEW, None), places(*"wxyz"), *[ending] * 3)

    assert went == [("w", "b", False), ("x", "b", False), ("y", "b", False)]


@pytest.mark.parametrize("ending", ["answered", "refused", "local", "given_up"])
def test_what_another_worker_would_not_change_is_not_tried_again(ending: Ending):
    assert len(walk(Course(NEW, OLD), places(*"wxyz"), ending)) == 1


def test_what_may_have_crashed_two_workers_gets_no_third():
    assert len(walk(Course(NEW, OLD), places(*"wxyz"), "broken", "broken")) == 2


def test_the_only_worker_gets_a_second_try_if_it_never_connected():
    course, place = Course(NEW, None), places("w")
    step = course.next(place)
    assert step is not None
    course.ended("w", "unreachable")

    again = course.next(place)

    assert again is not None
    assert (again.worker.id, again.pause > step.pause) == ("w", True)
    course.ended("w", "unreachable")
    assert course.next(place) is None


@pytest.mark.parametrize("ending", ["adapter", "failed", "busy", "broken"])
def test_the_only_worker_gets_no_second_try_once_it_saw_the_request(ending: Ending):
    assert len(walk(Course(NEW, None), places("w"), ending)) == 1


@pytest.mark.parametrize("ending", ["adapter", "failed"])
def test_the_only_worker_may_serve_the_version_before(ending: Ending):
    went = walk(Course(NEW, OLD), places("w"), ending, "answered")

    assert went == [("w", "b", False), ("w", "a", True)]


def test_after_two_workers_without_the_adapter_the_last_try_is_the_fallbacks():
    went = walk(Course(NEW, OLD), places(*"wxyz"), "adapter", "failed", "adapter")

    assert went == [("w", "b", False), ("x", "b", False), ("w", "a", True)]


def test_where_no_breaker_lets_the_adapter_pass_the_fallback_serves_at_once():
    went = walk(Course(NEW, OLD), places(*"wx", without={"b" * 64: "wx"}), "answered")

    assert went == [("w", "a", True)]


def test_a_fallback_that_fails_is_tried_elsewhere_and_has_no_fallback():
    went = walk(Course(NEW, OLD), places(*"wx", without={"b" * 64: "wx"}), "failed", "failed")

    assert went == [("w", "a", True), ("x", "a", True)]


def test_what_broke_is_not_handed_to_the_fallback():
    went = walk(Course(NEW, OLD), places("w"), "broken")

    assert went == [("w", "b", False)]


def test_without_any_worker_there_is_no_step():
    assert Course(NEW, OLD).next(places()) is None


@given(st.lists(st.sampled_from(ENDINGS), min_size=5, max_size=5), st.integers(0, 4), st.booleans())
def test_however_tries_end_they_are_few_and_no_worker_sees_one_adapter_twice(
    endings: list[Ending],
    workers: int,
    has_fallback: bool,  # noqa: FBT001 - drawn by hypothesis
):
    course = Course(NEW, OLD if has_fallback else None)
    went = []

    for ending in endings:
        step = course.next(places(*"wxyz"[:workers]))
        if step is None:
            break
        went.append((step.worker.id, step.target.adapter_digest, ending))
        course.ended(step.worker.id, ending)

    assert len(went) <= MAX_TRIES
    seen = [(name, digest) for name, digest, ending in went if ending != "unreachable"]
    assert len(seen) == len(set(seen))
