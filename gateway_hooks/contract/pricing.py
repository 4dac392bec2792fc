"""What tokens cost, in integers of micro-currency: the one formula for reserving and settling.

The ledger keeps exact decimals (``portal.billing``); here every request is rounded up by less than
one micro, so that a spend limit errs on the tenant's safe side.
"""

import msgspec

TOKENS_PER_PRICE_UNIT = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in micro-currency per million tokens; ``rate_id`` names the price book's row."""

    rate_id: str
    currency: str
    input_micro: int
    cached_input_micro: int
    output_micro: int


def charge_micro(price: Price, *, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> int:
    """Micro-currency for one request, rounded up. ``cached_tokens`` are part of ``prompt_tokens``."""
    total = (
        price.input_micro * (prompt_tokens - cached_tokens)
        + price.cached_input_micro * cached_tokens
        + price.output_micro * completion_tokens
    )
    return -(-total // TOKENS_PER_PRICE_UNIT)


def worst_case_micro(price: Price, *, prompt_tokens: int, max_output_tokens: int) -> int:
    """Micro-currency to reserve: nothing cached (unless caching costs more), all output used."""
    dearest_input = max(price.input_micro, price.cached_input_micro)
    return -(
        -(dearest_input * prompt_tokens + price.output_micro * max_output_tokens) // TOKENS_PER_PRICE_UNIT
    )
