"""The Lua script against the model, on a real Redis; and the race that it closes."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio as aredis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_hooks.admission.ledger import AdmissionLedger, admission_arguments, admission_keys, read_verdict
from gateway_hooks.admission.model import AdmissionModel
from gateway_hooks.admission.script import ADMIT
from gateway_hooks.admission.verdict import Ask
from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Limits
from tests.gateway_hooks.admission.asks import ask, finish, with_ledger

START = 1_700_000_000_000
LIMIT = st.none() | st.integers(0, 6)
LIMITS = st.builds(
    Limits,
    requests_per_minute=LIMIT,
    tokens_per_minute=st.none() | st.integers(0, 100),
    concurrency=LIMIT,
    monthly_spend_micro=st.none() | st.integers(0, 1000),
)
ADMIT_STEP = st.tuples(
    st.just("admit"),
    st.integers(0, 50),
    st.integers(0, 400),
    st.integers(1, 90_000),
    st.sampled_from(["a", "b"]),
)
END_STEP = st.tuples(
    st.just("end"), st.integers(0, 30), st.none() | st.integers(0, 50), st.none() | st.integers(0, 400)
)
STEPS = st.lists(st.tuples(st.integers(0, 45_000), ADMIT_STEP | END_STEP), min_size=1, max_size=30)


@pytest.mark.usefixtures("redis_client")
@given(steps=STEPS, tenant=LIMITS, key=LIMITS, spend_known=st.sampled_from([True, True, True, False]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_script_decides_and_counts_as_the_model_does(
    steps: list[Any], tenant: Limits, key: Limits, *, spend_known: bool
):
    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> None:
        await client.flushdb()
        if spend_known:
            await client.set(keys.spend_known("acme"), 1)
        model, now, asked = AdmissionModel(spend_known=spend_known), START, list[Ask]()
        for index, (gap, step) in enumerate(steps):
            now += gap
            if step[0] == "admit":
                _, tokens, micro, lease, month = step
                one = ask(
                    f"r{index}",
                    tenant=tenant,
                    key=key,
                    tokens=tokens,
                    micro=micro,
                    lease_ms=lease,
                    month=month,
                )
                asked.append(one)
                assert await ledger.admit(one, now_ms=now) == model.admit(one, now_ms=now)
            elif asked:
                _, which, tokens, micro = step
                one = asked[which % len(asked)]
                await finish(ledger, client, one, tokens=tokens, micro=micro)
                model.release(one.request_id, tokens=tokens)
                if micro is not None:
                    model.settle(one.request_id, micro=micro)
        last = ask("last", tenant=tenant, key=key)
        assert await ledger.admit(last, now_ms=now + 1) == model.admit(last, now_ms=now + 1)

    with_ledger(os.environ["REDIS_URL"], run)


def test_a_refused_request_leaves_no_trace(redis_client: "redis.Redis"):
    limits = Limits(monthly_spend_micro=10)
    redis_client.set(keys.spend_known("acme"), 1)

    async def run(ledger: AdmissionLedger, _client: aredis.Redis) -> str | None:
        return (await ledger.admit(ask("1", key=limits))).refusal

    refusal = with_ledger(os.environ["REDIS_URL"], run)

    assert refusal == "budget_exhausted"
    assert redis_client.keys("*") == [keys.spend_known("acme").encode()]


def test_a_redis_that_lost_what_was_spent_refuses_whoever_has_a_spend_limit_and_nobody_else(
    redis_client: "redis.Redis",
):
    limits = Limits(monthly_spend_micro=1_000_000)

    async def run(ledger: AdmissionLedger, _client: aredis.Redis) -> list[str | None]:
        asked = (ask("1", tenant=limits), ask("2", key=limits), ask("3"))
        return [(await ledger.admit(one)).refusal for one in asked]

    refusals = with_ledger(os.environ["REDIS_URL"], run)

    assert refusals == ["limits_unavailable", "limits_unavailable", None]
    assert redis_client.hlen(keys.holds("acme")) == 1


def test_every_counter_expires_by_itself_but_the_hold(redis_client: "redis.Redis"):
    async def run(ledger: AdmissionLedger, _client: aredis.Redis) -> None:
        await ledger.admit(ask("1"))

    with_ledger(os.environ["REDIS_URL"], run)

    lasting = {name for name in redis_client.keys("*") if redis_client.ttl(name) == -1}
    assert lasting == {keys.holds("acme").encode()}


def test_all_keys_of_a_script_lie_in_one_cluster_slot():
    assert all("{acme}" in name for name in admission_keys(ask("1")))


THREADS, EACH, ALLOWED = 8, 25, 40


def _together(work: Any) -> list[bool]:
    """``work`` by many threads, each with its own connection, all starting at once."""
    gate = threading.Barrier(THREADS)

    def one(number: int) -> list[bool]:
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
            client.ping()
            gate.wait()
            return [work(client, f"{number}-{turn}") for turn in range(EACH)]

    with ThreadPoolExecutor(THREADS) as pool:
        return [admitted for answers in pool.map(one, range(THREADS)) for admitted in answers]


def test_many_at_once_never_pass_the_limit_where_check_then_act_would(redis_client: "redis.Redis"):
    limits = Limits(
        requests_per_minute=ALLOWED,
        concurrency=ALLOWED,
        tokens_per_minute=10 * ALLOWED,
        monthly_spend_micro=10**6,
    )

    def naive(client: "redis.Redis", _name: str) -> bool:
        if int(client.get("naive") or 0) >= ALLOWED:
            return False
        client.incr("naive")
        return True

    def atomic(client: "redis.Redis", name: str) -> bool:
        one = ask(name, tenant=limits)
        names = admission_keys(one)
        answer: Any = client.eval(ADMIT, len(names), *names, *admission_arguments(one, now_ms=None))
        return read_verdict(answer).refusal is None

    redis_client.set(keys.spend_known("acme"), 1)
    raced = _first(lambda: (redis_client.delete("naive"), sum(_together(naive)))[1], above=ALLOWED)
    admitted = sum(_together(atomic))

    assert raced > ALLOWED
    assert admitted == ALLOWED


def _first(trial: Any, *, above: int, trials: int = 50) -> int:
    """The first result above, or the last one: a race needs luck, so it may be tried again."""
    result = 0
    for _ in range(trials):
        result = trial()
        if result > above:
            break
    return result


@pytest.mark.usefixtures("redis_client")
def test_the_sliding_window_uses_redis_own_clock():
    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> tuple[float, float]:
        await ledger.admit(ask("1"))
        ((_, score),) = await client.zrange(keys.requests_window("acme", "tenant"), 0, -1, withscores=True)
        seconds, micros = await client.time()
        return score, seconds * 1000 + micros / 1000

    score, now = with_ledger(os.environ["REDIS_URL"], run)

    assert now - 5000 < score <= now
