from datetime import timedelta
from decimal import Decimal

import pytest

from portal.core.words import count, duration, plain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (7_200, "2 h"),
        (86_400, "1 day"),
        (900_000, "10 days"),
    ],
)
def test_a_duration_is_said_in_its_largest_unit(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_numbers_agree_with_their_noun() -> None:
    said = (count(1, "key"), count(1204, "key"), count(2, "alias", "aliases"))

    assert said == ("1 key", "1,204 keys", "2 aliases")


@pytest.mark.parametrize(
    ("amount", "text"), [("50.000000", "50"), ("0.500000", "0.5"), ("100", "100"), ("1E+3", "1000")]
)
def test_money_is_said_without_zeros_that_say_nothing(amount: str, text: str) -> None:
    assert plain(Decimal(amount)) == text
