"""While Redis is away: a spend limit never fails open. When it is back: counted once."""

import os
from typing import Any

import pytest
import redis
import redis.asyncio as aredis
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.admission.allowance import WINDOW_SECONDS, OutageAllowance, Uncounted, settle_outage
from gateway_hooks.admission.redis_ledger import AdmissionLedger
from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Limits, Tenant
from tests.gateway_hooks.admission.cases import TENANT, TODAY, ask, scopes_of, sent, with_ledger
from tests.gateway_hooks.world import tenant

DAY, MONTH = Limits(daily_spend_micro=1), Limits(monthly_spend_micro=1)


def lenient(allowance: int = 3, name: str = "lenient") -> Tenant:
    return tenant(name, {}, outage_policy="allowance", outage_requests_per_minute=allowance)


@pytest.mark.parametrize("limits", [DAY, MONTH], ids=["day", "month"])
@pytest.mark.parametrize("scope", ["tenant", "app", "key", "user"])
def test_nobody_runs_uncounted_who_has_a_spend_limit_anywhere(scope: str, limits: Limits):
    scopes = scopes_of(limits) if scope == "tenant" else scopes_of(**{scope: limits})

    verdict = OutageAllowance().admit(lenient(), ask("1", *scopes), now=0.0)

    assert verdict.refusal == "limits_unavailable"


def test_nobody_runs_uncounted_whose_policy_refuses():
    assert OutageAllowance().admit(tenant("strict", {}), ask("1"), now=0.0).refusal == "limits_unavailable"


@given(gaps=st.lists(st.floats(0, 40), max_size=40), allowance=st.integers(0, 4))
def test_no_minute_holds_more_than_the_allowance(gaps: list[float], allowance: int):
    outage, one, now, times = OutageAllowance(), lenient(allowance), 0.0, []

    for gap in gaps:
        now += gap
        if outage.admit(one, ask("1"), now=now).refusal is None:
            times.append(now)

    assert all(sum(start <= at < start + WINDOW_SECONDS for at in times) <= allowance for start in times)


def test_tenants_do_not_share_an_allowance():
    outage, first, second = OutageAllowance(), lenient(1), lenient(1, "other")

    refusals = [outage.admit(one, ask("1"), now=0.0).refusal for one in (first, second, first)]

    assert refusals == [None, None, "limits_unavailable"]


def test_the_context_cap_needs_no_counter_and_holds():
    limits, outage = Limits(context_tokens=15), OutageAllowance()

    clamped = outage.admit(lenient(), ask("1", tenant=limits, clamp=True), now=0.0)
    refused = outage.admit(lenient(), ask("2", tenant=limits), now=0.0)

    assert (clamped.refusal, clamped.max_output) == (None, 5)
    assert refused.refusal == "context_cap"


def test_notes_are_kept_as_long_as_their_window_is_open_and_given_away_once():
    outage = OutageAllowance()
    for index, at in enumerate((0, 1, 60_001)):
        outage.note(ask(str(index), at_ms=at), tokens=1, micro=1, now_ms=at)

    taken = outage.take_uncounted()
    outage.put_back(taken)

    assert [one.ask.at_ms for one in taken] == [60_001]
    assert (outage.take_uncounted(), outage.take_uncounted()) == (taken, [])


LIMITED = Limits(requests_per_minute=5, tokens_per_minute=100)


async def settle_twice(ledger: AdmissionLedger, client: aredis.Redis, ran: list[Uncounted]) -> None:
    for _ in range(2):
        await sent(client, lambda pipeline: settle_outage(ledger, pipeline, ran))


async def milliseconds(client: aredis.Redis) -> int:
    seconds, micros = await client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def test_what_ran_uncounted_is_counted_once_in_windows_that_are_open_and_its_money_left_to_the_ledger(
    redis_client: "redis.Redis",
):
    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> Any:
        now = await milliseconds(client)
        recent = ask("recent", tenant=LIMITED, at_ms=now - 30_000)
        old = ask("old", tenant=LIMITED, at_ms=now - 61_000)
        await settle_twice(ledger, client, [Uncounted(recent, 33, 40), Uncounted(old, 50, 60)])
        late = await ledger.admit(recent)
        return late, await ledger.admit(ask("next", tenant=LIMITED))

    late, after = with_ledger(os.environ["REDIS_URL"], run)

    assert late.refusal == "limits_unavailable"
    assert (after.counters[0].requests, after.counters[0].tokens) == (2, 33 + 20)
    assert after.counters[0].monthly_micro == 20
    assert redis_client.hlen(keys.holds(TENANT)) == 1


def test_what_was_counted_after_all_is_settled_and_not_counted_again(redis_client: "redis.Redis"):
    async def run(ledger: AdmissionLedger, client: aredis.Redis) -> Any:
        one = ask("1", tenant=LIMITED, at_ms=await milliseconds(client))
        await ledger.admit(one)
        await settle_twice(ledger, client, [Uncounted(one, 7, 9)])
        return await ledger.admit(ask("next", tenant=LIMITED))

    after = with_ledger(os.environ["REDIS_URL"], run)

    assert (after.counters[0].requests, after.counters[0].tokens, after.counters[0].concurrent) == (2, 27, 1)
    assert after.counters[0].daily_micro == 9 + 20
    assert int(redis_client.get(keys.spend(TENANT, "key.k1", TODAY.name)) or 0) == 29  # type: ignore[arg-type]
