"""Who was refused a moment ago is refused again, for a moment."""

from gateway_hooks.admission.ask import Ask, Scope
from gateway_hooks.admission.decision import Verdict
from gateway_hooks.admission.periods import Period
from gateway_hooks.admission.recent import MAX_CALLERS, MAX_SECONDS, RecentRefusals
from gateway_hooks.contract.snapshot import Limits

WHO = ("tenant", "key", None)
ASK = Ask(
    request_id="r",
    tenant_id="tenant",
    at_ms=0,
    day=Period("2026-11-21", 1),
    month=Period("2026-11", 1),
    prompt_tokens=1,
    max_output=1,
    input_micro=1,
    output_micro=1,
    scopes=(Scope("tenant", Limits(requests_per_minute=1)),),
)
REFUSED = Verdict(refusal="rate_limit_requests", limit=1, used=1, asked=1, retry_after_ms=30_000)


def test_a_refusal_holds_for_a_moment_and_says_how_long_is_left():
    recent = RecentRefusals()
    recent.note(WHO, ASK, REFUSED, now=100.0)

    refused = recent.of(WHO, now=100.4)

    assert refused is not None
    assert refused.verdict.retry_after_ms == 29_600
    assert recent.of(WHO, now=100.0 + MAX_SECONDS) is None


def test_never_longer_than_until_there_is_room():
    recent = RecentRefusals()
    recent.note(WHO, ASK, Verdict(refusal="rate_limit_requests", retry_after_ms=200), now=100.0)

    assert recent.of(WHO, now=100.1) is not None
    assert recent.of(WHO, now=100.21) is None


def test_it_concerns_one_caller_and_one_kind_of_limit():
    recent = RecentRefusals()
    recent.note(WHO, ASK, Verdict(refusal="rate_limit_tokens", retry_after_ms=9000), now=100.0)
    recent.note(("tenant", "other", None), ASK, REFUSED, now=100.0)

    assert recent.of(WHO, now=100.1) is None


def test_it_remembers_no_more_than_it_may():
    recent = RecentRefusals()
    for number in range(MAX_CALLERS + 5):
        recent.note(("tenant", str(number), None), ASK, REFUSED, now=100.0)

    assert len(recent._refused) <= MAX_CALLERS
