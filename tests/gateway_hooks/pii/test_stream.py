import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.pii import DenyList, PiiPolicy
from gateway_hooks.pii.detect import detect
from gateway_hooks.pii.errors import PiiBlocked
from gateway_hooks.pii.placeholders import placeholder
from gateway_hooks.pii.policy import compile_policy
from gateway_hooks.pii.stream import LONGEST, CompletionMasker
from tests.gateway_hooks.pii.world import EVERYTHING, KEY, PATIENT, VALUES, chunked, policy

SENTENCES = (
    "Here is what I found about them today. ",
    "In short:\n",
    "Then he went there, and ",
    "OK. ",
    "das ist 张三说 ",
)
PROSE = st.lists(
    st.sampled_from(VALUES).map(lambda value: value + "\n") | st.sampled_from(SENTENCES), max_size=12
)
PRIVATE_KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEabc+/=abcdefgh\n" * 60 + "-----END RSA PRIVATE KEY-----"
)


def at_once(text, compiled=EVERYTHING):
    """Each value of the whole text replaced."""
    pieces, place = [], 0
    for span in detect(text, compiled):
        pieces += [
            text[place : span.start],
            placeholder(KEY, span.entity, text[span.start : span.end], set()),
        ]
        place = span.end
    return "".join([*pieces, text[place:]])


def streamed(chunks, compiled=EVERYTHING):
    masker = CompletionMasker(compiled, KEY)
    return "".join([masker.feed(chunk) for chunk in chunks] + [masker.flush()])


@PATIENT
@given(PROSE.map("".join), st.lists(st.integers(1, 7), max_size=80))
def test_chunks_change_nothing(text, sizes):
    assert streamed(chunked(text, sizes)) == at_once(text)


@pytest.mark.parametrize(
    "value",
    [*VALUES, "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"],
)
def test_a_value_is_masked_when_it_comes_letter_by_letter(value):
    text = f"You asked for it, so here it is: {value}\nand that is all there is to say."

    assert streamed(text) == at_once(text) != text


def test_a_private_key_is_masked_as_one_value():
    text = f"Use this key:\n{PRIVATE_KEY}\nand keep it."
    result = streamed(chunked(text, [5] * 400))

    assert result == at_once(text)
    assert "MIIE" not in result


def test_a_quoted_password_of_several_words_is_masked():
    text = 'config = {"password": "correct horse battery staple"} and so on'

    assert streamed(text) == at_once(text)
    assert "horse" not in streamed(text)


def test_prose_is_passed_on_word_by_word():
    masker = CompletionMasker(EVERYTHING, KEY)

    assert [masker.feed(chunk) for chunk in ("The quick", " brown fox", " jumps")] == [
        "The ",
        "quick brown ",
        "fox ",
    ]


def test_code_is_passed_on_line_by_line_at_the_latest():
    masker = CompletionMasker(EVERYTHING, KEY)

    passed = masker.feed("x1 = f2(3)\ny4 = g5(6)\nz")

    assert passed == "x1 = f2(3)\ny4 = g5(6)\n"


def test_no_more_than_the_longest_value_is_held_back():
    masker = CompletionMasker(EVERYTHING, KEY)
    fed = passed = 0
    for _ in range(400):
        fed += 100
        passed += len(masker.feed("1 2 3 4 5 " * 10))
        assert fed - passed <= LONGEST + 100


def test_placeholders_of_the_request_pass_through():
    text = "Dear <EMAIL_ADDRESS_bcdfghjkmn>, your card <CREDIT_CARD_bcdfghjkmn> is fine."

    assert streamed(text) == text


def test_a_blocked_entity_ends_the_stream():
    masker = CompletionMasker(policy(US_SSN="block"), KEY)

    with pytest.raises(PiiBlocked):
        masker.feed("It is 123-45-6789, as you may have known all along.\n")


def test_a_phrase_of_a_deny_list_is_masked_across_chunks():
    compiled = compile_policy(
        PiiPolicy(
            entities={}, deny_lists=(DenyList(name="PROJECT", words=("blue moon rising",), action="redact"),)
        )
    )

    text = "We call it Blue Moon Rising in the house. " * 5
    assert streamed(text, compiled) == at_once(text, compiled)
    assert "Moon" not in streamed(text, compiled)
