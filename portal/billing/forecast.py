"""Where a month's spending ends if days go on as they were. Pure, in decimals.

What is spent, plus the mean of the last whole days for every day that is left. The range is that of a sum of
days that vary as those did: their deviation times the root of the days left, wider where few days are known.
It holds the month's end in four of five months, if days vary evenly; a launch or a holiday is not foreseen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

FOUR_OF_FIVE = Decimal("1.2816")
"""Of a normal distribution, 80 % lie within so many deviations."""
LEAST_DAYS = 3


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The month's end; ``low`` is never below what is spent."""

    expected: Decimal
    low: Decimal
    high: Decimal
    days: int


def forecast(spent: Decimal, last_days: Sequence[Decimal], days_left: Decimal) -> Forecast | None:
    """``last_days``: whole days before today. None with fewer than ``LEAST_DAYS`` of them."""
    number = len(last_days)
    if number < LEAST_DAYS:
        return None
    mean = sum(last_days, Decimal(0)) / number
    variance = sum(((day - mean) ** 2 for day in last_days), Decimal(0)) / (number - 1)
    spread = FOUR_OF_FIVE * (variance * (days_left + days_left**2 / number)).sqrt()
    expected = spent + mean * days_left
    return Forecast(expected=expected, low=max(spent, expected - spread), high=expected + spread, days=number)
