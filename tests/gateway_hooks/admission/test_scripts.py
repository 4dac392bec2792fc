"""The Lua scripts against the rule, on a real Redis, over random histories."""

import os
from typing import Any

import pytest
import redis
import redis.asyncio as aredis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_hooks.admission.ask import Ask
from gateway_hooks.admission.decision import RETRY_ENTRIES, WINDOW_MS
from gateway_hooks.admission.periods import Period
from gateway_hooks.admission.redis_ledger import AdmissionLedger, admission_keys
from gateway_hooks.admission.rule import AdmissionRule
from gateway_hooks.contract import keys
from gateway_hooks.contract.settlement import SETTLE
from gateway_hooks.contract.snapshot import Limits
from tests.gateway_hooks.admission.cases import (
    LIMITS,
    MONTH,
    START,
    TENANT,
    TODAY,
    admit_now,
    ask,
    maybe,
    scopes_of,
    sent,
    with_ledger,
)

TOMORROW = Period("2026-11-22", TODAY.ends_ms + 1)
NEXT_MONTH = Period("2026-12", MONTH.ends_ms + 1)
ADMIT_STEP = st.fixed_dictionaries(
    {
        "prompt_tokens": st.integers(0, 40),
        "max_output": st.integers(0, 40),
        "choices": st.integers(1, 3),
        "clamp": st.booleans(),
        "input_micro": st.sampled_from([0, 1, 999_999, 2_500_000]),
        "output_micro": st.sampled_from([0, 3, 1_000_001, 10_000_000]),
        "kv_bytes_per_token": maybe(st.integers(0, 120)),
        "lease_ms": st.integers(1, 90_000),
        "day": st.sampled_from([TODAY, TOMORROW]),
        "month": st.sampled_from([MONTH, NEXT_MONTH]),
        "user_name": st.sampled_from(["u1", "u2", "u3"]),
    }
)
WHICH = st.integers(0, 30)
FINISH_STEP = st.tuples(
    st.just("finish"), WHICH, maybe(st.integers(0, 60)), maybe(st.integers(0, 400)), st.booleans()
)
OTHER_STEP = st.tuples(st.sampled_from(["cancel", "renew", "settle", "late", "repeat"]), WHICH)
STEPS = st.lists(
    st.tuples(st.integers(0, 45_000), ADMIT_STEP | ADMIT_STEP | FINISH_STEP | OTHER_STEP),
    min_size=1,
    max_size=30,
)


async def both(
    ledger: AdmissionLedger, client: aredis.Redis, rule: AdmissionRule, one: Ask, step: Any, now: int
) -> tuple[Any, Any]:
    """What Redis and what the rule answer to one step other than an admission."""
    match step:
        case ("finish", _, tokens, micro, _):
            answers = await sent(client, lambda p: ledger.finish(p, one, tokens=tokens, micro=micro))
            return answers, [rule.finish(one, tokens=tokens, micro=micro)]
        case ("cancel", _):
            return await sent(client, lambda p: ledger.cancel(p, one)), [rule.cancel(one)]
        case ("renew", _):
            answers = await sent(client, lambda p: ledger.renew(p, [one], now_ms=now))
            return answers, [rule.renew(one, now_ms=now)]
        case ("late", _):
            answers = await sent(client, lambda p: ledger.count_late(p, one, tokens=7, now_ms=now))
            return answers, [rule.count_late(one, tokens=7, now_ms=now)]
        case _:
            answer = await client.eval(SETTLE, 1, keys.holds(TENANT), one.request_id, 50)
            return answer, rule.settle(one.request_id, micro=50)


@pytest.mark.usefixtures("redis_client")
@given(
    steps=STEPS,
    limits=st.tuples(LIMITS, LIMITS, LIMITS, maybe(LIMITS)),
    spend_known=st.sampled_from([True, True, True, False]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_scripts_decide_and_count_as_the_rule_does(steps: list[Any], limits: Any, *, spend_known: bool):
    tenant, app, key, user = limits

    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> None:
        await client.flushdb()
        if spend_known:
            await client.set(keys.spend_known(TENANT), 1)
        rule = AdmissionRule(spend_known=spend_known, max_end_users=2)
        now, asked = START, list[Ask]()
        for index, (gap, step) in enumerate(steps):
            now += gap
            if isinstance(step, dict):
                changes = {**step, "at_ms": now}
                named = scopes_of(tenant, app=app, key=key, user=user, user_name=changes.pop("user_name"))
                one = ask(f"r{index:02}", *named, **changes)
                asked.append(one)
                assert await ledger.admit(one, now_ms=now) == rule.admit(one, now_ms=now)
            elif step[0] == "finish" and step[-1]:
                # Its admission was never answered, and may come after its end.
                lost = ask(f"r{index:02}", *scopes_of(tenant, app=app, key=key, user=user))
                found, wanted = await both(ledger, client, rule, lost, step, now)
                assert found == wanted
                assert await ledger.admit(lost, now_ms=now) == rule.admit(lost, now_ms=now)
            elif asked:
                one = asked[step[1] % len(asked)]
                found, wanted = await both(ledger, client, rule, one, step, now)
                assert found == wanted
        last = ask("zz", *scopes_of(tenant, app=app, key=key, user=user))
        assert await ledger.admit(last, now_ms=now + 1) == rule.admit(last, now_ms=now + 1)

    with_ledger(os.environ["REDIS_URL"], run, max_end_users=2)


EVERYTHING = Limits(
    requests_per_minute=100,
    tokens_per_minute=10**6,
    concurrency=100,
    kv_bytes=10**9,
    context_tokens=10**5,
    daily_spend_micro=10**9,
    monthly_spend_micro=10**9,
)
ALL_SCOPES = scopes_of(EVERYTHING, app=EVERYTHING, key=EVERYTHING, user=EVERYTHING)


def counters(client: "redis.Redis") -> dict[bytes, Any]:
    """Everything in Redis that is neither nothing nor the mark of an end."""
    read = {
        b"zset": lambda name: dict(client.zrange(name, 0, -1, withscores=True)),  # type: ignore[arg-type]
        b"hash": lambda name: {k: v for k, v in client.hgetall(name).items() if v != b"0"},  # type: ignore[union-attr]
        b"string": lambda name: int(client.get(name) or 0),  # type: ignore[arg-type]
    }
    found = {name: read[client.type(name)](name) for name in client.keys("*") if b":ended:" not in name}  # type: ignore[index,union-attr]
    return {name: value for name, value in found.items() if value and b":end-users:" not in name}


@pytest.mark.parametrize("refusing", range(4))
def test_a_refusal_by_any_scope_leaves_no_trace_in_the_others(redis_client: "redis.Redis", refusing: int):
    redis_client.set(keys.spend_known(TENANT), 1)
    limits = [EVERYTHING] * 4
    limits[refusing] = Limits(monthly_spend_micro=5)
    tenant, app, key, user = limits

    verdict = admit_now(redis_client, ask("1", *scopes_of(tenant, app=app, key=key, user=user)))

    assert (verdict.refusal, verdict.scope, verdict.period) == ("budget_exhausted", refusing, "month")
    assert (verdict.limit, verdict.used, verdict.asked) == (5, 0, 20)
    assert redis_client.keys("*") == [keys.spend_known(TENANT).encode()]


def test_what_is_cancelled_comes_back_in_every_scope_and_kind(redis_client: "redis.Redis"):
    redis_client.set(keys.spend_known(TENANT), 1)

    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> list[Any]:
        await ledger.admit(ask("stays", *ALL_SCOPES))
        before = counters(redis_client)
        gone = ask("gone", *ALL_SCOPES)
        await ledger.admit(gone)
        during = counters(redis_client)
        ends = [await sent(client, lambda p: ledger.cancel(p, gone)) for _ in range(2)]
        return [before, during, ends]

    before, during, ends = with_ledger(os.environ["REDIS_URL"], run)

    assert during != before
    assert counters(redis_client) == before
    assert ends == [[1], [0]]


def test_a_cancel_after_the_finish_takes_nothing_back(redis_client: "redis.Redis"):
    redis_client.set(keys.spend_known(TENANT), 1)
    one = ask("1", *ALL_SCOPES)

    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> Any:
        await ledger.admit(one)
        await sent(client, lambda p: ledger.finish(p, one, tokens=None, micro=None))
        after = counters(redis_client)
        await sent(client, lambda p: ledger.cancel(p, one))
        return after

    finished = with_ledger(os.environ["REDIS_URL"], run)

    assert counters(redis_client) == finished
    assert redis_client.hexists(keys.holds(TENANT), "1")


def test_every_key_expires_but_the_hold(redis_client: "redis.Redis"):
    redis_client.set(keys.spend_known(TENANT), 1, ex=100)
    one = ask("1", *ALL_SCOPES)

    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> None:
        await ledger.admit(one)
        await sent(client, lambda p: ledger.renew(p, [one]))
        await sent(client, lambda p: ledger.finish(p, one, tokens=3, micro=3))
        await sent(client, lambda p: ledger.count_late(p, one, tokens=3))
        await ledger.admit(ask("2", *ALL_SCOPES))

    with_ledger(os.environ["REDIS_URL"], run)

    lasting = {name for name in redis_client.keys("*") if redis_client.ttl(name) == -1}
    assert lasting == {keys.holds(TENANT).encode()}


def test_the_money_of_an_end_user_is_kept_no_longer_than_its_period(redis_client: "redis.Redis"):
    redis_client.set(keys.spend_known(TENANT), 1)

    admit_now(redis_client, ask("1", *ALL_SCOPES))

    left = [
        redis_client.ttl(keys.spend(TENANT, keys.user_scope("u1"), period.name)) for period in (TODAY, MONTH)
    ]
    assert [0 < seconds <= days * 86_400 for seconds, days in zip(left, (1, 9), strict=True)] == [True] * 2


def test_where_nothing_is_limited_only_the_tenant_and_the_money_of_apps_and_keys_are_counted(
    redis_client: "redis.Redis",
):
    admit_now(redis_client, ask("1", *scopes_of(user=Limits())))

    counted = {name.decode().split("}:")[1] for name in redis_client.keys("*")}
    assert {name for name in counted if ".a1" in name or ".k1" in name or "user" in name} == {
        f"spend:{scope}:{period.name}" for scope in ("app.a1", "key.k1") for period in (TODAY, MONTH)
    }


def test_all_keys_of_a_request_lie_in_one_cluster_slot():
    assert all("{acme}" in name for name in admission_keys(ask("1", *ALL_SCOPES)))


def test_end_users_beyond_the_bound_are_refused_and_known_ones_are_not(redis_client: "redis.Redis"):
    redis_client.set(keys.spend_known(TENANT), 1)
    limits = Limits(daily_spend_micro=10**6)

    async def run(ledger: AdmissionLedger, _client: aredis.Redis) -> list[str | None]:
        names = ["u1", "u2", "u3", "u1"]
        asked = [ask(str(i), *scopes_of(user=limits, user_name=name)) for i, name in enumerate(names)]
        return [(await ledger.admit(one)).refusal for one in asked]

    refusals = with_ledger(os.environ["REDIS_URL"], run, max_end_users=2)

    assert refusals == [None, None, "limits_unavailable", None]


def test_a_long_window_is_looked_through_only_so_far(redis_client: "redis.Redis"):
    limits = Limits(tokens_per_minute=RETRY_ENTRIES + 500)
    rule = AdmissionRule()
    small = {"prompt_tokens": 1, "max_output": 0}
    for number in range(RETRY_ENTRIES + 500):
        one = ask(f"{number:05}", tenant=limits, **small)
        assert admit_now(redis_client, one, now_ms=START + number) == rule.admit(one, now_ms=START + number)
    now = START + RETRY_ENTRIES + 500

    large = ask("large", tenant=limits, prompt_tokens=RETRY_ENTRIES + 400, max_output=0)
    verdict = admit_now(redis_client, large, now_ms=now)

    assert verdict == rule.admit(large, now_ms=now)
    assert verdict.retry_after_ms == START + RETRY_ENTRIES - 1 + WINDOW_MS - now


@pytest.mark.usefixtures("redis_client")
def test_the_sliding_window_uses_redis_own_clock():
    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> tuple[float, float]:
        await ledger.admit(ask("1"))
        ((_, score),) = await client.zrange(keys.requests_window(TENANT, "tenant"), 0, -1, withscores=True)
        seconds, micros = await client.time()
        return score, seconds * 1000 + micros / 1000

    score, now = with_ledger(os.environ["REDIS_URL"], run)

    assert now - 5000 < score <= now


@pytest.mark.usefixtures("redis_client")
@given(
    price=st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)),
    sizes=st.tuples(st.integers(0, 4_000_000), st.integers(0, 100_000), st.integers(1, 40)),
    spare=st.integers(0, 3 * 10**9),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_money_is_exact_up_to_the_largest_numbers(price: Any, sizes: Any, spare: int):
    limits = Limits(monthly_spend_micro=spare)
    one = ask(
        "1",
        tenant=limits,
        prompt_tokens=sizes[0],
        max_output=sizes[1],
        choices=sizes[2],
        input_micro=price[0],
        output_micro=price[1],
        clamp=True,
    )

    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.flushdb()
        client.set(keys.spend_known(TENANT), 1)
        assert admit_now(client, one, now_ms=START) == AdmissionRule().admit(one, now_ms=START)
