"""While Redis is away: a spend limit never fails open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.admission.outage import WINDOW_SECONDS, OutageAllowance
from gateway_hooks.contract.snapshot import Limits
from gateway_hooks.errors import GatewayError
from tests.gateway_hooks.world import api_key, tenant

SPEND = Limits(monthly_spend_micro=1)


def lenient(allowance: int = 3, **changes: object):
    return tenant("lenient", {}, outage_policy="allowance", outage_requests_per_minute=allowance, **changes)


def admitted(allowance: OutageAllowance, one, key, now: float) -> bool:
    try:
        allowance.admit(one, key, now=now)
    except GatewayError as error:
        return error.code != "limits_unavailable"
    return True


@pytest.mark.parametrize(
    ("one", "key_limits"),
    [(tenant("strict", {}), Limits()), (lenient(limits=SPEND), Limits()), (lenient(), SPEND)],
    ids=["policy refuses", "tenant has a spend limit", "key has a spend limit"],
)
def test_nobody_runs_uncounted_who_may_not(one, key_limits: Limits):
    key, _ = api_key(one.id, limits=key_limits)

    assert not admitted(OutageAllowance(), one, key, 0.0)


@given(gaps=st.lists(st.floats(0, 40), max_size=40), allowance=st.integers(0, 4))
def test_no_minute_holds_more_than_the_allowance(gaps: list[float], allowance: int):
    outage, one, now, times = OutageAllowance(), lenient(allowance), 0.0, []
    key, _ = api_key(one.id)

    for gap in gaps:
        now += gap
        if admitted(outage, one, key, now):
            times.append(now)

    assert all(sum(start <= at < start + WINDOW_SECONDS for at in times) <= allowance for start in times)


def test_tenants_do_not_share_an_allowance():
    outage = OutageAllowance()
    first, second = lenient(1), tenant("other", {}, outage_policy="allowance", outage_requests_per_minute=1)
    key, _ = api_key(first.id)

    assert [admitted(outage, one, key, 0.0) for one in (first, second, first)] == [True, True, False]
