"""The mask of one request: which bytes need a look, what is held back, and that nothing outlives it."""

import gc
import itertools
import json
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.masking.mask import Mask
from tests.gateway_hooks.gateway.masking.policies import EMAIL, KEY, OWN, QUOTED, mask_of, placeholder_of


def test_a_request_without_values_needs_no_look_at_its_answer():
    mask, _ = mask_of("hello")

    assert mask.idle
    assert not mask.stirs(b'{"content":"<b>hello</b>"}')


@pytest.mark.parametrize("raw", [b"<", rb"\u003c", rb"\u003C"])
def test_bytes_stir_if_a_placeholder_could_begin_in_them_however_json_writes_it(raw: bytes):
    mask, _ = mask_of(EMAIL)

    assert mask.stirs(b'{"content":"' + raw + b'"}')
    assert not mask.stirs(b'{"content":"hello"}')


def test_bytes_stir_while_something_is_held_back_and_not_after():
    mask, placeholder = placeholder_of(EMAIL)
    strand = mask.strand((0, "content"))

    assert strand.feed(placeholder[:5]) == ""
    assert mask.stirs(b"plain")
    assert strand.feed(placeholder[5:] + ", and more words than any placeholder has letters") != ""
    assert not mask.stirs(b"plain")


@given(text=st.text(max_size=20), cuts=st.lists(st.integers(0, 80), max_size=10))
def test_a_text_is_restored_however_it_is_cut(text: str, cuts: list[int]):
    mask, (masked,) = mask_of(f"{text} {EMAIL}, {QUOTED}. {text}")
    edges = sorted({0, *(cut for cut in cuts if cut < len(masked)), len(masked)})
    strand = mask.strand((0, "content"))

    fed = "".join(strand.feed(masked[start:end]) for start, end in itertools.pairwise(edges))

    assert fed + strand.flush() == f"{text} {EMAIL}, {QUOTED}. {text}"


def test_inside_json_a_value_is_escaped():
    mask, placeholder = placeholder_of(QUOTED)

    restored = mask.whole(f'{{"to": "{placeholder}"}}', is_json=True)

    assert json.loads(restored) == {"to": QUOTED}


def test_a_document_is_restored_in_keys_and_texts():
    mask, placeholder = placeholder_of(QUOTED)

    assert mask.document({placeholder: [placeholder, 1]}) == {QUOTED: [QUOTED, 1]}


def test_what_only_looks_like_a_placeholder_stays():
    mask, _ = mask_of(EMAIL)

    assert mask.whole("<EMAIL_ADDRESS_bcdfghjkmn> and <EMAIL_") == "<EMAIL_ADDRESS_bcdfghjkmn> and <EMAIL_"


def test_the_models_own_values_are_masked_and_counted_and_the_clients_are_restored():
    mask, placeholder = placeholder_of(EMAIL)
    own = Mask(mask.mapping, mask.counts, (OWN, KEY))

    strand = own.strand((0, "content"))
    given_out = strand.feed(f"{placeholder} knows ") + strand.feed("other@example.net well") + strand.flush()

    assert given_out.startswith(f"{EMAIL} knows <EMAIL_ADDRESS_")
    assert "other" not in given_out
    assert own.counts["EMAIL_ADDRESS"] == 2


def test_arguments_of_the_models_own_are_masked_as_a_whole_and_stay_json():
    mask, placeholder = placeholder_of(QUOTED)
    own = Mask(mask.mapping, mask.counts, (OWN, KEY))
    strand = own.strand((0, "tool", 0), is_json=True)

    pieces = [strand.feed(f'{{"to": "{placeholder}", "card": 4111'), strand.feed("111111111111}")]

    assert pieces == ["", ""]
    arguments = json.loads(strand.flush())
    assert arguments["to"] == QUOTED
    assert arguments["card"].startswith("<CREDIT_CARD_")


def test_a_blocked_entity_in_the_models_own_text_ends_the_answer():
    mask = Mask({}, {}, (OWN, KEY))
    strand = mask.strand((0, "content"))

    fed = strand.feed("pay to DE89 3704 0044 0532 0130 00")
    with pytest.raises(GatewayError) as caught:
        strand.flush()

    assert "3704" not in fed

    assert caught.value.code == Code.PII_BLOCKED
    assert "3704" not in caught.value.message


def test_where_restoring_fails_the_placeholders_stay(caplog: pytest.LogCaptureFixture):
    mask, placeholder = placeholder_of(EMAIL)
    strand = mask.strand((0, "content"))

    class Broken:
        def feed(self, text):
            message = f"cannot restore {EMAIL} in {text}"
            raise ValueError(message)

        flush = feed

    strand._restorer = Broken()

    assert strand.feed(placeholder) == placeholder
    assert EMAIL not in caplog.text


def test_after_its_request_no_value_is_kept():
    mask, placeholder = placeholder_of(EMAIL)
    strand = mask.strand((0, "content"))
    strand.feed(placeholder[:5])
    kept = weakref.ref(strand)
    del strand

    mask.free()
    gc.collect()

    assert kept() is None
    assert mask.mapping == {}
    assert mask.idle
    assert mask.counts == {"EMAIL_ADDRESS": 1}
