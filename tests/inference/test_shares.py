from hypothesis import given
from hypothesis import strategies as st

from inference.shares import split

weights = st.lists(st.integers(0, 10**6), min_size=1, max_size=40).filter(any)


@given(total=st.integers(0, 10**15), weights=weights)
def test_the_parts_sum_to_the_total_and_stay_within_one_of_the_exact_share(
    total: int, weights: list[int]
) -> None:
    parts = split(total, weights)

    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert total * weight // sum(weights) <= part <= total * weight // sum(weights) + 1


def test_the_largest_remainders_get_what_is_left_and_the_first_among_equals_wins() -> None:
    assert split(10, [1, 1, 1]) == [4, 3, 3]
    assert split(10, [6, 5, 5]) == [4, 3, 3]
    assert split(5, [0, 1, 1]) == [0, 3, 2]
