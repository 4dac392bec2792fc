import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.pii.restore import Restorer
from tests.gateway_hooks.pii.world import PATIENT, chunked

TOKEN = "<EMAIL_ADDRESS_bcdfghjkmn>"
LONGER = "<EMAIL_ADDRESS_bcdfghjkmnpqrstv>"


def stream(restorer, chunks):
    return [restorer.feed(chunk) for chunk in chunks]


def test_only_an_end_that_could_begin_a_known_placeholder_is_held_back():
    restorer = Restorer({TOKEN: "bob@example.com"})

    assert stream(restorer, ["Hi <", "b> and <EMAIL", "_ADDRESS_bcdfghjkmn", "> bye <PERS"]) == [
        "Hi ",
        "<b> and ",
        "",
        "bob@example.com bye <PERS",
    ]


@pytest.mark.parametrize("end", ["<", "<EMAIL", TOKEN[:-1]])
def test_a_placeholder_cut_short_is_never_guessed(end):
    restorer = Restorer({TOKEN: "bob@example.com"})

    assert restorer.feed("see " + end) + restorer.flush() == "see " + end


def test_a_restored_value_is_not_restored_again():
    restorer = Restorer({TOKEN: LONGER, LONGER: TOKEN})

    assert restorer.feed(TOKEN + LONGER) == LONGER + TOKEN


def test_placeholders_that_begin_alike_are_told_apart():
    restorer = Restorer({TOKEN: "a", LONGER: "b"})

    assert "".join(stream(restorer, LONGER + TOKEN)) == "ba"


def test_an_unknown_placeholder_stays_and_is_not_held_back():
    restorer = Restorer({TOKEN: "a"})

    assert restorer.feed("<EMAIL_ADDRESS_vvvvvvvvvv>") == "<EMAIL_ADDRESS_vvvvvvvvvv>"
    assert restorer.feed("<EMAIL_ADDRESS_v") == "<EMAIL_ADDRESS_v"


@PATIENT
@given(st.text(), st.text(), st.lists(st.integers(1, 5), max_size=30))
def test_inside_json_a_value_is_escaped(value, around, sizes):
    inside = json.dumps({"a": around + TOKEN})
    restorer = Restorer({TOKEN: value}, escape=True)

    restored = "".join(stream(restorer, chunked(inside, sizes))) + restorer.flush()

    assert json.loads(restored) == {"a": around + value}
    restored.encode()


@PATIENT
@given(st.text("<>EMAIL_ADRSbcdfghjkmn ", max_size=60), st.lists(st.integers(1, 5), max_size=30))
def test_chunks_change_nothing(text, sizes):
    known = {TOKEN: "a", "<EMAIL_bcdfghjkmn>": "b"}
    restorer = Restorer(known)

    assert "".join(stream(restorer, chunked(text, sizes))) + restorer.flush() == Restorer(known).restore(text)
