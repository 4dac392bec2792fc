"""Largest remainder: what is parted sums to the whole, whatever the weights."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from portal.billing.allocation import allocate

weights_by_key = st.dictionaries(st.text(max_size=4), st.integers(0, 10**24), min_size=1, max_size=12)
totals = st.integers(0, 10**12)


@given(totals, weights_by_key)
def test_the_parts_sum_to_the_total_and_lie_within_one_of_their_share(
    total: int, weights: dict[str, int]
) -> None:
    whole = sum(weights.values())
    assume(whole > 0)

    parts = allocate(total, weights)

    assert sum(parts.values()) == total
    assert parts.keys() == weights.keys()
    for key, part in parts.items():
        assert abs(part * whole - total * weights[key]) < whole


@given(totals, weights_by_key, st.randoms(use_true_random=False))
def test_the_order_of_the_weights_does_not_matter(
    total: int, weights: dict[str, int], random: object
) -> None:
    assume(sum(weights.values()) > 0)
    shuffled = list(weights.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert allocate(total, dict(shuffled)) == allocate(total, weights)


@given(totals, weights_by_key)
def test_who_weighs_more_never_gets_less_and_who_weighs_nothing_gets_nothing(
    total: int, weights: dict[str, int]
) -> None:
    assume(sum(weights.values()) > 0)

    parts = allocate(total, weights)

    ordered = sorted(weights, key=lambda key: weights[key])
    for light, heavy in pairwise(ordered):
        if weights[light] < weights[heavy]:
            assert parts[light] <= parts[heavy]
        if weights[light] == 0:
            assert parts[light] == 0


def test_equal_remainders_go_to_the_smaller_key() -> None:
    assert allocate(2, {"c": 1, "a": 1, "b": 1}) == {"a": 1, "b": 1, "c": 0}


def test_money_without_any_weight_is_refused_rather_than_lost() -> None:
    with pytest.raises(ValueError, match="all weights are zero"):
        allocate(1, {"a": 0})
    with pytest.raises(ValueError, match="negative"):
        allocate(1, {"a": -1, "b": 2})
    assert allocate(0, {"a": 0}) == {"a": 0}
