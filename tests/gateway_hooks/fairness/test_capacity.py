import msgspec

from gateway_hooks.fairness.ask import UNBOUNDED, Capacity
from gateway_hooks.fairness.capacity import pool_capacity
from tests.gateway_hooks.world import POOL, worker


def workers(*changes: dict[str, object]) -> list[object]:
    return [worker("http://w", id=f"w{number}", **one) for number, one in enumerate(changes)]


def test_a_pool_takes_what_its_ready_workers_take():
    found = workers({}, {}, {"state": "draining"}, {"state": "starting"}, {"pool_id": "another"})

    assert pool_capacity(POOL, found) == Capacity(16, 8192)


def test_the_pools_own_bounds_come_before_what_a_worker_reports():
    bounded = msgspec.structs.replace(POOL, seqs_in_flight=3, tokens_in_flight=1000)

    assert pool_capacity(bounded, workers({}, {})) == Capacity(6, 2000)


def test_a_worker_that_does_not_say_how_many_tokens_it_holds_does_not_bound_them():
    assert pool_capacity(POOL, workers({"kv_cache_tokens": None}, {})) == Capacity(16, UNBOUNDED)


def test_without_a_ready_worker_nobody_is_seated():
    assert pool_capacity(POOL, []) == Capacity(0, 0)
