"""Which of several workers: adapter first, then load, and never one that is not ready."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.routing.choice import best
from tests.gateway_hooks.world import route, worker

DIGEST = "a" * 64
LOADS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 12))


def fleet(**adapters: tuple[str, ...]) -> list[WorkerRecord]:
    return [worker(f"http://{name}", id=name, adapters=held) for name, held in adapters.items()]


def chosen(workers: list[WorkerRecord], digest: str | None, loads: dict[str, int]) -> str | None:
    found = best(workers, route(digest), in_flight=loads)
    return found.id if found else None


def test_the_worker_that_holds_the_adapter_is_chosen_though_it_has_more_to_do():
    workers = fleet(a=(), b=(DIGEST,))

    assert chosen(workers, DIGEST, {"b": 7}) == "b"
    assert chosen(workers, None, {"b": 7}) == "a"


def test_a_full_worker_gives_way_to_one_that_has_to_load_the_adapter():
    workers = fleet(a=(), b=(DIGEST,))

    assert chosen(workers, DIGEST, {"b": 8}) == "a"


def test_where_all_are_full_the_adapter_counts_again_and_then_the_load():
    workers = fleet(a=(), b=(DIGEST,), c=(DIGEST,))

    assert chosen(workers, DIGEST, {"a": 8, "b": 20, "c": 19}) == "c"


def test_nobody_able_is_nobody_chosen():
    assert best(fleet(a=()), route(), in_flight={}, usable=lambda _: False) is None


@given(LOADS, st.permutations("abcd"))
def test_the_order_of_the_records_does_not_matter(loads: dict[str, int], order: list[str]):
    workers = {one.id: one for one in fleet(a=(), b=(DIGEST,), c=(DIGEST,), d=())}

    assert chosen([workers[name] for name in order], DIGEST, loads) == chosen(
        list(workers.values()), DIGEST, loads
    )


@given(st.integers(1, 60))
def test_many_requests_spread_evenly(count: int):
    workers, loads = fleet(a=(), b=(), c=()), Counter[str]()

    for _ in range(count):
        loads[chosen(workers, None, loads) or ""] += 1

    assert max(loads.values()) - min(loads[name] for name in "abc") <= 1
