from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.pii.spans import Span, unite
from gateway_hooks.pii.view import View
from tests.gateway_hooks.pii.world import PATIENT

STRANGE = st.text(
    st.sampled_from("a1-é张 \u200b\u00ad\x00\x85\u2028\uff11\u2013\u00a0\ud800\U0001d7d9\ufe0f")
    | st.characters()
)


@PATIENT
@given(st.lists(STRANGE, min_size=1, max_size=4))
def test_each_byte_knows_its_character(texts):
    view = View(texts)

    assert len(view.data) == len(view.clean)
    for index, base in enumerate(view.bases):
        end = view.bases[index + 1] - 1 if index + 1 < len(texts) else len(view.data)
        assert 0 not in view.data[base:end]
        for place in range(base, end):
            start, stop = view.original(index, place, place + 1)
            assert stop == start + 1
            assert view.within(index, start, stop) == (place, place + 1)


@PATIENT
@given(STRANGE)
def test_the_whole_of_a_text_comes_back(text):
    view = View([text])

    start, end = view.within(0, 0, len(text))

    assert (start, end) == (0, len(view.data))


def test_digits_dashes_and_blanks_of_all_scripts_become_plain():
    assert View(
        ["\uff14\uff11\u2013\uff11\u00a01\u200b1\u0663 \U0001d7d9\uff20"]
    ).data == b"41-1 1131@".replace(b"31@", b"3 1@")


def test_scripts_without_blanks_part_words_and_other_letters_do_not():
    assert View(["张aЖbéc"]).data == b"\xbfa\xe9b\xe9c"


def test_blanked_ranges_are_borders():
    view = View(["abcdef"])

    view.blank([(1, 2), (4, 6)])

    assert view.data == b"a\0cd\0\0"
    assert view.clean == "a\0cd\0\0"


def test_overlapping_spans_become_one_named_after_the_longest():
    rank = {"A": 0, "B": 1}

    assert unite([Span(5, 9, "B"), Span(0, 3, "A"), Span(2, 7, "B")], rank) == [Span(0, 9, "B")]
    assert unite([Span(0, 3, "B"), Span(0, 3, "A")], rank) == [Span(0, 3, "A")]
    assert unite([Span(0, 3, "B"), Span(3, 4, "A")], rank) == [Span(0, 3, "B"), Span(3, 4, "A")]


@PATIENT
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5), st.sampled_from("ABC")), max_size=12))
def test_a_union_covers_exactly_what_its_spans_cover(made):
    spans = [Span(start, start + length, name) for start, length, name in made]

    united = unite(spans, {})

    covered = [place for span in united for place in range(span.start, span.end)]
    assert covered == sorted({place for span in spans for place in range(span.start, span.end)})
