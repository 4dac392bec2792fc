"""The price formula: integers, rounded up by less than one micro, and never above the reservation."""

from decimal import ROUND_CEILING, Decimal

from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.pricing import Price, charge_micro, worst_case_micro

MICRO = st.integers(0, 10**9)
TOKENS = st.integers(0, 10**6)
PRICES = st.builds(
    Price,
    rate_id=st.just("r"),
    currency=st.just("EUR"),
    input_micro=MICRO,
    cached_input_micro=MICRO,
    output_micro=MICRO,
)


@given(price=PRICES, prompt=TOKENS, share=st.integers(0, 100), completion=TOKENS)
def test_a_charge_is_the_exact_price_rounded_up(price: Price, prompt: int, share: int, completion: int):
    cached = prompt * share // 100

    charge = charge_micro(price, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion)

    exact = (
        Decimal(price.input_micro) * (prompt - cached)
        + Decimal(price.cached_input_micro) * cached
        + Decimal(price.output_micro) * completion
    ) / Decimal(1_000_000)
    assert charge == exact.to_integral_value(ROUND_CEILING)


@given(price=PRICES, prompt=TOKENS, spare=TOKENS, share=st.integers(0, 100), completion=TOKENS, left=TOKENS)
def test_no_charge_within_the_bounds_exceeds_the_worst_case(
    price: Price, prompt: int, spare: int, share: int, completion: int, left: int
):
    cached = prompt * share // 100

    worst = worst_case_micro(price, prompt_tokens=prompt + spare, max_output_tokens=completion + left)

    assert worst >= charge_micro(
        price, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion
    )


def test_a_known_charge():
    price = Price(
        rate_id="r", currency="EUR", input_micro=1_000_000, cached_input_micro=250_000, output_micro=4_000_000
    )

    assert charge_micro(price, prompt_tokens=11, cached_tokens=4, completion_tokens=6) == 32
