"""Values are found wherever they stand, in few texts and in many alike."""

from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.pii import sweep
from gateway_hooks.pii.sweep import occurrences

WORDS = st.text("ab\0\xe9\U0001f600", min_size=1, max_size=12)


@given(
    st.lists(st.text("ab\0\xe9\U0001f600", max_size=40), max_size=5), st.lists(WORDS, max_size=8, unique=True)
)
def test_every_place_lies_in_a_place_that_one_pass_finds(texts: list[str], values: list[str]):
    known = list(sweep._plain(texts, values))
    row = [*texts, "x" * (sweep._FEW + 1)]

    found = [place for place in occurrences(row, values) if place is not None]

    assert {texts[index][start:end] for index, start, end in found} <= set(values)
    for index, start, end in known:
        assert any(index == other and first <= start and end <= last for other, first, last in found)


def test_one_pass_pauses_often_however_many_values():
    values = [f"user{number}@example.org" for number in range(5_000)]
    text = " and ".join(values)

    steps = list(occurrences([text], values))

    assert sum(step is not None for step in steps) == 5_000
    assert steps.count(None) > len(text) // sweep._STRIDE
