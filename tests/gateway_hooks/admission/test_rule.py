"""The admission rule, by its properties."""

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from gateway_hooks.admission.decision import WINDOW_MS
from gateway_hooks.admission.rule import AdmissionRule
from gateway_hooks.contract.limits_view import Used
from gateway_hooks.contract.pricing import Price, worst_case_micro
from gateway_hooks.contract.snapshot import Limits
from tests.gateway_hooks.admission.cases import LIMITS, START, TODAY, ask, scopes_of

GAPS = st.lists(st.integers(0, 40_000), min_size=1, max_size=60)


def times(gaps: list[int]) -> list[int]:
    now, seen = START, []
    for gap in gaps:
        now += gap
        seen.append(now)
    return seen


@given(gaps=GAPS, limit=st.integers(0, 5))
def test_no_sixty_seconds_ever_hold_more_requests_than_the_limit(gaps: list[int], limit: int):
    rule = AdmissionRule()

    admitted = [
        now
        for index, now in enumerate(times(gaps))
        if rule.admit(ask(str(index), tenant=Limits(requests_per_minute=limit)), now_ms=now).refusal is None
    ]

    assert all(sum(start <= at < start + WINDOW_MS for at in admitted) <= limit for start in admitted)


@given(gaps=GAPS, limit=st.integers(0, 100), data=st.data())
def test_no_sixty_seconds_ever_reserve_more_tokens_than_the_limit_clamped_or_not(
    gaps: list[int], limit: int, data: st.DataObject
):
    rule, admitted = AdmissionRule(), []

    for index, now in enumerate(times(gaps)):
        sizes = {"prompt_tokens": data.draw(st.integers(0, 30)), "max_output": data.draw(st.integers(0, 30))}
        one = ask(
            str(index),
            *scopes_of(key=Limits(tokens_per_minute=limit)),
            clamp=data.draw(st.booleans()),
            choices=data.draw(st.integers(1, 3)),
            **sizes,
        )
        verdict = rule.admit(one, now_ms=now)
        if verdict.refusal is None:
            admitted.append((now, one.tokens(verdict.max_output)))

    for start, _ in admitted:
        assert sum(amount for at, amount in admitted if start <= at < start + WINDOW_MS) <= limit


@given(gaps=GAPS, limit=st.integers(1, 5))
def test_whoever_waits_as_long_as_told_is_admitted(gaps: list[int], limit: int):
    rule, limits = AdmissionRule(), Limits(requests_per_minute=limit, tokens_per_minute=20 * limit)

    for index, now in enumerate(times(gaps)):
        verdict = rule.admit(ask(str(index), tenant=limits), now_ms=now)
        if verdict.refusal is not None:
            assert 0 < verdict.retry_after_ms <= WINDOW_MS
            later = now + verdict.retry_after_ms
            assert rule.admit(ask("later", tenant=limits), now_ms=later).refusal is None
            return


@given(
    limits=st.tuples(LIMITS, LIMITS, LIMITS, LIMITS),
    taken=st.lists(st.integers(0, 30), max_size=4),
    sizes=st.tuples(st.integers(0, 40), st.integers(1, 60), st.integers(1, 3)),
    price=st.tuples(st.integers(0, 3_000_000), st.integers(0, 9_000_000)),
)
def test_a_clamp_takes_all_that_fits_every_scope_and_not_a_token_more(
    limits: Any, taken: list[int], sizes: Any, price: Any
):
    tenant, app, key, user = limits
    scopes = scopes_of(tenant, app=app, key=key, user=user)
    prompt, output, choices = sizes
    shape = {"prompt_tokens": prompt, "choices": choices, "input_micro": price[0], "output_micro": price[1]}

    def verdict_for(max_output: int, *, clamp: bool):
        rule = AdmissionRule()
        for index, amount in enumerate(taken):
            rule.admit(ask(str(index), *scopes, prompt_tokens=amount, max_output=0), now_ms=START)
        return rule.admit(ask("r", *scopes, max_output=max_output, clamp=clamp, **shape), now_ms=START)

    clamped = verdict_for(output, clamp=True)

    if clamped.refusal is not None:
        assert verdict_for(1, clamp=False).refusal == clamped.refusal
    else:
        assert 1 <= clamped.max_output <= output
        assert verdict_for(clamped.max_output, clamp=False).refusal is None
        more = verdict_for(clamped.max_output + 1, clamp=False)
        assert clamped.max_output == output or more.refusal is not None


@given(gaps=GAPS, limits=st.tuples(LIMITS, LIMITS), data=st.data())
def test_money_and_memory_never_pass_a_limit_and_ends_leave_what_was_used(
    gaps: list[int], limits: Any, data: st.DataObject
):
    rule, spent, running = AdmissionRule(), 0, []
    scopes = scopes_of(limits[0], key=limits[1])

    for index, now in enumerate(times(gaps)):
        one = ask(
            str(index), *scopes, clamp=data.draw(st.booleans()), max_output=data.draw(st.integers(0, 40))
        )
        verdict = rule.admit(one, now_ms=now)
        for scope, used in zip(scopes, verdict.counters, strict=True):
            assert within(scope.limits, used)
        if verdict.refusal is None:
            running.append((one, verdict))
        if running and data.draw(st.booleans()):
            ended, granted = running.pop(0)
            actual = data.draw(st.integers(0, granted.micro))
            assert rule.finish(ended, tokens=1, micro=actual)
            assert not rule.finish(ended, tokens=5, micro=7)
            spent += actual

    held = sum(verdict.micro for _, verdict in running)
    assert rule.scopes["tenant"].spend.get(TODAY.name, 0) == spent + held


def within(limits: Limits, used: Used) -> bool:
    met = [
        (limits.requests_per_minute, used.requests),
        (limits.tokens_per_minute, used.tokens),
        (limits.concurrency, used.concurrent),
        (limits.kv_bytes, used.kv_bytes),
        (limits.daily_spend_micro, used.daily_micro),
        (limits.monthly_spend_micro, used.monthly_micro),
    ]
    return all(limit is None or amount <= limit for limit, amount in met)


@given(limits=st.tuples(LIMITS, LIMITS, LIMITS, LIMITS), before=st.integers(0, 4))
def test_a_refused_or_cancelled_request_leaves_every_scope_as_it_was(limits: Any, before: int):
    tenant, app, key, user = limits
    scopes = scopes_of(tenant, app=app, key=key, user=user)
    rule = AdmissionRule()
    for index in range(before):
        rule.admit(ask(str(index), *scopes), now_ms=START)
    probe = ask("probe", *scopes)
    seen = [rule.scopes[scope.name].used(scope, probe) for scope in scopes if scope.name in rule.scopes]
    assume(seen)

    verdict = rule.admit(probe, now_ms=START)
    if verdict.refusal is None:
        assert rule.cancel(probe)
        assert not rule.cancel(probe)

    assert [rule.scopes[scope.name].used(scope, probe) for scope in scopes] == seen
    assert "probe" not in rule.holds


def test_a_lease_and_its_memory_end_by_themselves_unless_renewed():
    rule, limits = AdmissionRule(), Limits(concurrency=1, kv_bytes=2000)
    first = ask("1", tenant=limits, lease_ms=1000)

    refusals = [rule.admit(first, now_ms=0).refusal]
    renewed = [rule.renew(first, now_ms=900)]
    refusals += [rule.admit(ask(str(now), tenant=limits), now_ms=now).refusal for now in (1000, 1899, 1900)]
    renewed += [rule.renew(first, now_ms=1901)]

    assert refusals == [None, "concurrency", "concurrency", None]
    assert renewed == [1, 0]


def test_a_released_lease_is_never_renewed():
    rule = AdmissionRule()
    one = ask("1", tenant=Limits(concurrency=1))
    rule.admit(one, now_ms=0)

    rule.finish(one, tokens=None, micro=None)

    assert rule.renew(one, now_ms=1) == 0
    assert rule.admit(ask("2", tenant=Limits(concurrency=1)), now_ms=1).refusal is None


def test_an_admission_that_comes_after_its_end_takes_nothing():
    rule, one = AdmissionRule(), ask("1")
    rule.cancel(one)

    verdict = rule.admit(one, now_ms=START)

    assert verdict.refusal == "limits_unavailable"
    assert verdict.counters == (Used(),) * 3
    assert rule.holds == {}


@given(
    price=st.tuples(st.integers(0, 10**8), st.integers(0, 10**8), st.integers(0, 10**8)),
    sizes=st.tuples(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(1, 8)),
)
def test_money_is_reserved_as_the_price_formula_says(price: Any, sizes: Any):
    price_of = Price(
        rate_id="r",
        currency="EUR",
        input_micro=price[0],
        cached_input_micro=price[1],
        output_micro=price[2],
    )
    prompt, output, choices = sizes

    one = ask(
        "1",
        prompt_tokens=prompt,
        max_output=output,
        choices=choices,
        input_micro=max(price[:2]),
        output_micro=price[2],
    )

    assert one.micro(output) == worst_case_micro(
        price_of, prompt_tokens=prompt, max_output_tokens=output * choices
    )
