"""Amounts are exact, and the gateway's integers are the same rounded up."""

from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.billing.pricing import Prices, Tokens, amount_of, charge, settlement_micro

price = st.decimals(0, 99_999_999, places=6, allow_nan=False, allow_infinity=False)
count = st.integers(0, 2_147_483_647)


@given(price, price, price, count, count, count)
def test_a_charge_is_the_exact_sum_of_its_meters(
    given_price: Decimal,
    cached_price: Decimal,
    output_price: Decimal,
    uncached: int,
    cached: int,
    output: int,
) -> None:
    prices = Prices(input=given_price, cached_input=cached_price, output=output_price)
    tokens = Tokens(prompt=uncached + cached, cached=cached, completion=output)

    amounts = charge(prices, tokens)

    exact = (
        Fraction(given_price) * uncached + Fraction(cached_price) * cached + Fraction(output_price) * output
    ) / 1_000_000
    assert Fraction(amounts.input) + Fraction(amounts.cached_input) + Fraction(amounts.output) == exact
    assert all(
        -int(part.as_tuple().exponent) <= 12 for part in (amounts.input, amounts.cached_input, amounts.output)
    )
    micro = settlement_micro(prices, tokens)
    assert micro - 1 < exact * 1_000_000 <= micro


@given(price, count, count)
def test_more_tokens_never_cost_less(unit: Decimal, tokens: int, more: int) -> None:
    assert amount_of(unit, tokens) <= amount_of(unit, tokens + more)


@given(price, st.lists(st.integers(0, 10**6), max_size=30))
def test_the_sum_of_requests_is_the_price_of_their_tokens(unit: Decimal, requests: list[int]) -> None:
    assert sum((amount_of(unit, tokens) for tokens in requests), Decimal(0)) == amount_of(unit, sum(requests))


def test_what_would_have_to_be_rounded_is_refused() -> None:
    with pytest.raises(Inexact):
        amount_of(Decimal("9." + "9" * 99), 7)
