"""The admission rule, by its properties."""

from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.admission.model import AdmissionModel
from gateway_hooks.admission.verdict import WINDOW_MS
from gateway_hooks.contract.snapshot import Limits
from tests.gateway_hooks.admission.asks import ask

GAPS = st.lists(st.integers(0, 40_000), min_size=1, max_size=60)


def times(gaps: list[int]) -> list[int]:
    now, seen = 1_000_000, []
    for gap in gaps:
        now += gap
        seen.append(now)
    return seen


@given(gaps=GAPS, limit=st.integers(0, 5))
def test_no_sixty_seconds_ever_hold_more_requests_than_the_limit(gaps: list[int], limit: int):
    model = AdmissionModel()

    admitted = [
        now
        for index, now in enumerate(times(gaps))
        if model.admit(ask(str(index), tenant=Limits(requests_per_minute=limit)), now_ms=now).refusal is None
    ]

    assert all(sum(start <= at < start + WINDOW_MS for at in admitted) <= limit for start in admitted)


@given(gaps=GAPS, limit=st.integers(0, 100), amounts=st.lists(st.integers(0, 60), min_size=60, max_size=60))
def test_no_sixty_seconds_ever_reserve_more_tokens_than_the_limit(
    gaps: list[int], limit: int, amounts: list[int]
):
    model = AdmissionModel()
    admitted = []

    for index, now in enumerate(times(gaps)):
        asked = ask(str(index), key=Limits(tokens_per_minute=limit), tokens=amounts[index])
        if model.admit(asked, now_ms=now).refusal is None:
            admitted.append((now, amounts[index]))

    for start, _ in admitted:
        assert sum(amount for at, amount in admitted if start <= at < start + WINDOW_MS) <= limit


@given(gaps=GAPS, limit=st.integers(1, 5))
def test_whoever_waits_as_long_as_told_is_admitted(gaps: list[int], limit: int):
    model = AdmissionModel()
    limits = Limits(requests_per_minute=limit)

    for index, now in enumerate(times(gaps)):
        verdict = model.admit(ask(str(index), tenant=limits), now_ms=now)
        if verdict.refusal is not None:
            assert 0 < verdict.retry_after_ms <= WINDOW_MS
            later = now + verdict.retry_after_ms
            assert model.admit(ask("later", tenant=limits), now_ms=later).refusal is None
            return


@given(micros=st.lists(st.integers(0, 500), max_size=40), limit=st.integers(0, 2000))
def test_money_held_never_exceeds_the_limit_and_settling_leaves_what_was_used(micros: list[int], limit: int):
    model = AdmissionModel()
    used = 0

    for index, micro in enumerate(micros):
        asked = ask(str(index), tenant=Limits(monthly_spend_micro=limit), micro=micro)
        verdict = model.admit(asked, now_ms=1_000_000 + index)
        assert verdict.used[0].spend_micro <= limit
        if verdict.refusal is None and index % 2:
            model.settle(str(index), micro=micro // 2)
            assert not model.settle(str(index), micro=0)
            used += micro // 2
        elif verdict.refusal is None:
            used += micro

    probe = model.admit(ask("probe", micro=0), now_ms=2_000_000)
    assert probe.used[0].spend_micro == used <= limit


def test_a_lease_ends_by_itself_when_its_gateway_is_gone():
    model = AdmissionModel()
    limits = Limits(concurrency=1)

    first = model.admit(ask("1", tenant=limits, lease_ms=1000), now_ms=0)
    during = model.admit(ask("2", tenant=limits, lease_ms=1000), now_ms=999)
    after = model.admit(ask("3", tenant=limits, lease_ms=1000), now_ms=1000)

    assert [v.refusal for v in (first, during, after)] == [None, "concurrency", None]
