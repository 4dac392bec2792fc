"""The settlement scripts on a real Redis: whoever comes first settles, once, and exactly."""

import json
from concurrent.futures import ThreadPoolExecutor

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_hooks.contract import keys
from gateway_hooks.contract.settlement import RAISE_SPEND, SETTLE, SPEND_KEPT_SECONDS

HOLDS = keys.holds("acme")
SPEND = [keys.spend("acme", scope, "2026-11") for scope in ("tenant", "key.k")]
MICRO = st.integers(0, 9 * 10**15 // 100)


def hold(client: "redis.Redis", request_id: str, micro: int) -> None:
    for name in SPEND:
        client.incrby(name, micro)
    client.hset(HOLDS, request_id, json.dumps({"keys": SPEND, "micro": micro}))


def settle(client: "redis.Redis", request_id: str, micro: int) -> int:
    return int(client.eval(SETTLE, 1, HOLDS, request_id, micro))  # type: ignore[arg-type]


def spends(client: "redis.Redis") -> list[int]:
    return [int(client.get(name) or 0) for name in SPEND]


@given(amounts=st.lists(st.tuples(MICRO, MICRO), min_size=1, max_size=10))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_settling_leaves_exactly_what_was_used_in_every_scope(
    redis_client: "redis.Redis", amounts: list[tuple[int, int]]
):
    redis_client.flushdb()
    for number, (held, _) in enumerate(amounts):
        hold(redis_client, str(number), held)

    for number, (_, used) in enumerate(amounts):
        settle(redis_client, str(number), used)

    assert spends(redis_client) == [sum(used for _, used in amounts)] * 2
    assert redis_client.hlen(HOLDS) == 0


def test_only_the_first_of_many_settlements_counts(redis_client: "redis.Redis"):
    hold(redis_client, "r", 1000)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda used: settle(redis_client, "r", used), [70] * 8))

    assert sorted(answers) == [0] * 7 + [1]
    assert spends(redis_client) == [70, 70]


def test_settling_what_was_never_held_changes_nothing(redis_client: "redis.Redis"):
    assert settle(redis_client, "unknown", 5) == 0
    assert redis_client.keys("*") == []


def test_lost_counters_start_again_from_the_ledger_and_are_never_lowered(redis_client: "redis.Redis"):
    raised = redis_client.eval(RAISE_SPEND, 1, SPEND[0], 500, SPEND_KEPT_SECONDS)
    kept = redis_client.eval(RAISE_SPEND, 1, SPEND[0], 400, SPEND_KEPT_SECONDS)

    assert (raised, kept) == (b"500", b"500")
    assert 0 < redis_client.ttl(SPEND[0]) <= SPEND_KEPT_SECONDS


def test_a_settlement_after_the_counters_are_gone_brings_none_back(redis_client: "redis.Redis"):
    hold(redis_client, "r", 1000)
    redis_client.delete(SPEND[0])

    assert settle(redis_client, "r", 70) == 1

    assert redis_client.get(SPEND[0]) is None
    assert redis_client.get(SPEND[1]) == b"70"
