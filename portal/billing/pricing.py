"""What tokens cost: exact decimals, never rounded. Pure.

A price has at most six decimals and is per million tokens, so an amount has at most twelve.
"""

from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, localcontext

from gateway_hooks.contract.pricing import Price, charge_micro

TOKENS_PER_UNIT = 1_000_000
PRICE_DECIMALS = 6
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Per million tokens, at most six decimals."""

    input: Decimal
    cached_input: Decimal
    output: Decimal


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """``cached`` are part of ``prompt``."""

    prompt: int
    cached: int
    completion: int

    @property
    def uncached(self) -> int:
        return self.prompt - self.cached


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What one request is charged, by meter."""

    input: Decimal
    cached_input: Decimal
    output: Decimal

    @property
    def total(self) -> Decimal:
        return self.input + self.cached_input + self.output


def amount_of(price: Decimal, tokens: int) -> Decimal:
    """``price`` per million times ``tokens``, exact. Raises ``decimal.Inexact`` rather than round."""
    with localcontext(_EXACT):
        return (price * tokens).scaleb(-PRICE_DECIMALS)


def charge(prices: Prices, tokens: Tokens) -> Amounts:
    return Amounts(
        input=amount_of(prices.input, tokens.uncached),
        cached_input=amount_of(prices.cached_input, tokens.cached),
        output=amount_of(prices.output, tokens.completion),
    )


def settlement_micro(prices: Prices, tokens: Tokens) -> int:
    """Micro-currency by which the gateway counts the request: the contract's own formula."""
    price = Price(
        rate_id="",
        currency="",
        input_micro=_micro(prices.input),
        cached_input_micro=_micro(prices.cached_input),
        output_micro=_micro(prices.output),
    )
    return charge_micro(
        price,
        prompt_tokens=tokens.prompt,
        cached_tokens=tokens.cached,
        completion_tokens=tokens.completion,
    )


def _micro(price: Decimal) -> int:
    with localcontext(_EXACT):
        return int(price.scaleb(PRICE_DECIMALS).to_integral_exact())
