"""Which limit holds: the tenant's own, else its tier's."""

from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.tenants.limits import (
    NAMES,
    effective_limits,
    one_limit,
    own_limits,
    raised_to,
    tenant_limits,
    to_micro,
)


@dataclass(frozen=True)
class Values:
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    kv_budget_mib: int | None = None
    context_tokens: int | None = None
    daily_spend_limit: Decimal | None = None
    monthly_spend_limit: Decimal | None = None


numbers = st.none() | st.integers(0, 2**31 - 1)
money = st.none() | st.decimals(0, 10**8 - 1, places=6)
values = st.builds(Values, numbers, numbers, numbers, numbers, numbers, money, money)


@given(tenant=values, tier=values)
def test_each_limit_is_the_tenants_where_it_is_set_and_else_the_tiers(tenant: Values, tier: Values) -> None:
    limits = {limit.name: limit for limit in effective_limits(tenant, tier)}

    assert tuple(limits) == NAMES
    for name, limit in limits.items():
        own, fallback = getattr(tenant, name), getattr(tier, name)
        assert limit.value == (fallback if own is None else own)
        assert limit.source == ("tenant" if own is not None else "none" if fallback is None else "tier")


@given(tenant=values, tier=values)
def test_gateways_read_the_same_limits_with_money_exact_in_micro(tenant: Values, tier: Values) -> None:
    limits = tenant_limits(tenant, tier)

    def chosen(name: str, times: int) -> int | None:
        own, fallback = getattr(tenant, name), getattr(tier, name)
        value = fallback if own is None else own
        return None if value is None else int(value * times)

    assert limits.monthly_spend_micro == chosen("monthly_spend_limit", 1_000_000)
    assert limits.daily_spend_micro == chosen("daily_spend_limit", 1_000_000)
    assert limits.kv_bytes == chosen("kv_budget_mib", 1 << 20)
    assert limits.context_tokens == chosen("context_tokens", 1)
    assert own_limits(Values()) == type(limits)()


@given(usual=numbers | money, value=numbers | money)
def test_a_raise_never_lowers_and_what_is_not_limited_stays_so(
    usual: Decimal | int | None, value: Decimal | int | None
) -> None:
    found = raised_to(usual, value)

    assert (found is None) is (usual is None)
    assert usual is None or found in {usual, value}
    assert usual is None or found is None or found >= max(usual, value or 0)


@given(name=st.sampled_from(NAMES), value=st.integers(1, 2**31 - 1))
def test_a_raise_reads_as_this_one_limit_alone(name: str, value: int) -> None:
    assert one_limit(name, Decimal(value)) == own_limits(Values(**{name: value}))


def test_zero_is_a_limit_and_not_the_absence_of_one() -> None:
    limits = tenant_limits(Values(monthly_spend_limit=Decimal(0)), Values(monthly_spend_limit=Decimal(50)))

    assert limits.monthly_spend_micro == 0


def test_money_that_micro_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="six decimals"):
        to_micro(Decimal("0.0000001"))
