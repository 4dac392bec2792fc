"""Which limit holds: the tenant's own, else its tier's."""

from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.tenants.limits import NAMES, effective_limits, key_limits, tenant_limits, to_micro


@dataclass(frozen=True)
class Values:
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    monthly_spend_limit: Decimal | None = None


numbers = st.none() | st.integers(0, 2**31 - 1)
money = st.none() | st.decimals(0, 10**8 - 1, places=6)
values = st.builds(Values, numbers, numbers, numbers, money)


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

    spend = tenant.monthly_spend_limit if tenant.monthly_spend_limit is not None else tier.monthly_spend_limit
    expected = None if spend is None else int(spend * 1_000_000)
    assert limits.monthly_spend_micro == expected
    assert key_limits(Values()) == type(limits)()


def test_zero_is_a_limit_and_not_the_absence_of_one() -> None:
    limits = tenant_limits(Values(monthly_spend_limit=Decimal(0)), Values(monthly_spend_limit=Decimal(50)))

    assert limits.monthly_spend_micro == 0


def test_money_that_micro_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="six decimals"):
        to_micro(Decimal("0.0000001"))
