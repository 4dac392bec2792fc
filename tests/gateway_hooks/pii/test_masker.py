"""What always holds of masked texts, whatever stands in them."""

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.pii import CustomPattern, DenyList, PiiPolicy
from gateway_hooks.pii.detect import detect
from gateway_hooks.pii.errors import PiiBlocked, PiiError
from gateway_hooks.pii.json_text import JsonText
from gateway_hooks.pii.masker import Masker
from gateway_hooks.pii.placeholders import placeholder, placeholder_pattern
from gateway_hooks.pii.policy import compile_policy
from gateway_hooks.pii.restore import Restorer
from gateway_hooks.pii.spans import Span
from tests.bench import pii_figures
from tests.gateway_hooks.pii.world import (
    EVERYTHING,
    KEY,
    LOOK_ALIKES,
    OTHER_KEY,
    PATIENT,
    VALUES,
    chunked,
    policy,
    texts,
)

SIZES = st.lists(st.integers(1, 9), max_size=40)
REQUESTS = st.lists(texts(), min_size=1, max_size=3)
OWN_RULES = compile_policy(
    PiiPolicy(
        entities={"EMAIL_ADDRESS": "mask", "PASSWORD": "mask"},
        patterns=(CustomPattern(name="CASE_NUMBER", pattern=r"C-?\d{1,4}|<[^>]{0,9}", action="mask"),),
        deny_lists=(DenyList(name="PROJECT", words=("bob", "张", "email address"), action="mask"),),
    )
)


def masked(texts, key=KEY, compiled=EVERYTHING):
    masker = Masker(compiled, key)
    return masker, masker.mask_texts(texts)


def without_placeholders(text):
    return placeholder_pattern().split(text)


@PATIENT
@given(REQUESTS, SIZES, st.sampled_from([EVERYTHING, OWN_RULES]))
def test_restoring_gives_the_text_back_under_any_chunking(texts, sizes, compiled):
    masker, results = masked(texts, compiled=compiled)

    for text, result in zip(texts, results, strict=True):
        restorer = Restorer(masker.mapping)
        restored = "".join(map(restorer.feed, chunked(result, sizes))) + restorer.flush()
        assert restored == text


@PATIENT
@given(REQUESTS, st.sampled_from([EVERYTHING, OWN_RULES]))
def test_nothing_is_detected_in_masked_text(texts, compiled):
    _, results = masked(texts, compiled=compiled)

    assert [detect(result, compiled) for result in results] == [[] for _ in results]


@PATIENT
@given(REQUESTS)
def test_no_value_is_left_in_any_text_of_the_request(texts):
    masker, results = masked(texts)

    for value in masker.mapping.values():
        assert not any(value in piece for result in results for piece in without_placeholders(result))


@PATIENT
@given(REQUESTS, st.sampled_from([EVERYTHING, OWN_RULES]))
def test_masking_again_changes_nothing(texts, compiled):
    _, once = masked(texts, compiled=compiled)
    _, twice = masked(once, compiled=compiled)

    assert twice == once


@PATIENT
@given(REQUESTS)
def test_two_tenants_never_share_a_placeholder(texts):
    one, _ = masked(texts)
    other, _ = masked(texts, OTHER_KEY)

    assert not one.mapping.keys() & other.mapping.keys()
    assert sorted(one.mapping.values()) == sorted(other.mapping.values())


@PATIENT
@given(
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=4), st.lists(st.sampled_from(VALUES), max_size=4)
)
def test_earlier_turns_stay_the_same_when_later_ones_come(history, later):
    first = [f"Turn: {value} and so on." for value in history]
    whole = first + [f"Turn: {value} and so on." for value in later]

    _, alone = masked(first)
    _, together = masked(whole)

    assert together[: len(first)] == alone


@PATIENT
@given(st.lists(st.sampled_from(LOOK_ALIKES) | st.sampled_from([" ", "a", "\n"]), max_size=8).map("".join))
def test_text_that_looks_like_a_placeholder_survives(text):
    masker, (result, _) = masked([text, "bob@example.com"])

    assert result == text
    assert Restorer(masker.mapping).restore(result) == text


def test_a_placeholder_that_stands_in_the_request_is_not_given_to_a_value():
    (_, (first,)) = masked(["bob@example.com"])

    masker, (result,) = masked([f"{first} bob@example.com"])

    assert result.startswith(f"{first} <EMAIL_ADDRESS_")
    assert first not in masker.mapping
    assert Restorer(masker.mapping).restore(result) == f"{first} bob@example.com"


def test_placeholders_of_values_whose_digests_begin_alike_grow_until_they_differ():
    short = placeholder(KEY, "CASE", "a", set())
    longer = placeholder(KEY, "CASE", "a", {short})

    assert longer != short
    assert longer.startswith(short[:-1])


def test_the_same_value_has_one_placeholder_wherever_it_is_found():
    masker, results = masked(["call 5551234567", "order of 5551234567", "X5551234567Y"])

    (token,) = masker.mapping
    assert results == [f"call {token}", f"order of {token}", f"X{token}Y"]
    assert masker.counts == {"PHONE_NUMBER": 3}


@PATIENT
@given(
    st.recursive(
        texts(4)
        | st.integers()
        | st.booleans()
        | st.none()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(3), inner, max_size=3),
        max_leaves=6,
    ),
    SIZES,
)
def test_json_stays_valid_and_comes_back_with_its_values(value, sizes):
    source = json.dumps(value, ensure_ascii=False, indent=1)
    masker, (result,) = masked([JsonText(source)])

    parsed = json.loads(result)
    restorer = Restorer(masker.mapping, escape=True)
    restored = json.loads("".join(map(restorer.feed, chunked(result, sizes))) + restorer.flush())
    assert _as_text(restored) == _as_text(value)
    assert _shape(parsed) == _shape(value)


def _as_text(value):
    """Long integers may have become strings."""
    if isinstance(value, dict):
        return {key: _as_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_text(inner) for inner in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _shape(value):
    if isinstance(value, dict):
        return [_shape(inner) for inner in value.values()]
    return [_shape(inner) for inner in value] if isinstance(value, list) else None


def test_the_name_of_a_field_says_what_its_value_is():
    _, (result,) = masked(
        [JsonText('{"dob":  "1990-03-12", "ssn": 123456789, "id": 998877665544, "n": [1.50]}')]
    )

    assert json.loads(result).keys() == {"dob", "ssn", "id", "n"}
    assert "1990" not in result
    assert "123456789," not in result
    assert result.endswith('"id": 998877665544, "n": [1.50]}')


def test_keys_that_hold_values_are_masked_too():
    _, (result,) = masked([JsonText('{"bob@example.com": 1, "ann@example.com": 2}')])

    assert len(json.loads(result)) == 2
    assert "@" not in result


def test_broken_json_is_masked_as_plain_text():
    _, (result,) = masked([JsonText('{"to": "bob@example.com", ')])

    assert result.startswith('{"to": "<EMAIL_ADDRESS_')


def test_a_blocked_entity_is_refused_without_its_value():
    with pytest.raises(PiiBlocked) as refusal:
        Masker(policy(US_SSN="block"), KEY).mask_texts(["fine", "ssn 123-45-6789"])

    assert refusal.value.code == "pii_blocked"
    assert refusal.value.entity == "US_SSN"
    assert "6789" not in repr(refusal.value)


def test_a_redacted_value_is_never_restored():
    masker = Masker(policy(US_SSN="redact", EMAIL_ADDRESS="mask"), KEY)

    (result,) = masker.mask_texts(["123-45-6789 bob@example.com"])

    assert list(masker.mapping.values()) == ["bob@example.com"]
    restored = Restorer(masker.mapping).restore(result)
    assert restored.startswith("<US_SSN_")
    assert restored.endswith("bob@example.com")


def test_the_deeper_tiers_spans_are_masked_and_looked_for_in_all_texts():
    compiled = compile_policy(PiiPolicy(entities={"PERSON": "mask"}, ner=True))
    masker = Masker(compiled, KEY)

    results = masker.mask_texts(
        ["I am Ann Smith.", "ANN: Ann Smith said"], found=[[Span(5, 14, "PERSON")], []]
    )

    (token,) = masker.mapping
    assert results == [f"I am {token}.", f"ANN: {token} said"]


def test_a_text_that_finds_no_end_is_refused(monkeypatch):
    monkeypatch.setattr("gateway_hooks.pii.masker.ROUNDS", 1)

    with pytest.raises(PiiError) as refusal:
        masked(["bob@example.com"])

    assert refusal.value.code == "pii_failed"


def test_later_calls_of_one_request_know_the_values_of_earlier_ones():
    masker = Masker(EVERYTHING, KEY)
    (first,) = masker.mask_texts(["call 5551234567"])

    (second,) = masker.mask_texts(["x5551234567x"])

    assert first.removeprefix("call ") == second.strip("x")


@PATIENT
@given(REQUESTS)
def test_yielding_to_the_loop_changes_nothing(texts):
    masker = Masker(EVERYTHING, KEY)

    assert asyncio.run(masker.mask_texts_async(texts)) == masked(texts)[1]


def test_the_loop_is_not_kept_waiting_by_a_long_text():
    text = pii_figures.text(100_000)

    async def longest_wait():
        waits = []
        done = asyncio.Event()

        async def watch():
            while not done.is_set():
                begin = time.process_time()
                await asyncio.sleep(0)
                waits.append(time.process_time() - begin)

        watcher = asyncio.create_task(watch())
        await Masker(EVERYTHING, KEY).mask_texts_async([text])
        done.set()
        await watcher
        return sorted(waits)[int(len(waits) * 0.99)]

    assert asyncio.run(longest_wait()) < 0.05


def test_lone_surrogates_pass_unharmed():
    text = "\ud800 bob@example.com \udfff"
    masker, (result,) = masked([text])

    assert Restorer(masker.mapping).restore(result) == text
    assert "bob" not in result


def test_a_blocked_entity_inside_a_longer_value_is_refused_too():
    with pytest.raises(PiiBlocked, match="EMAIL_ADDRESS"):
        Masker(policy(PASSWORD="mask", EMAIL_ADDRESS="block"), KEY).mask_texts(
            ["password: bob@example.com!xyz"]
        )


def test_a_name_around_a_placeholder_is_masked_beside_it():
    compiled = compile_policy(PiiPolicy(entities={"PERSON": "mask"}, ner=True))
    text = "Ann <EMAIL_ADDRESS_bcdfghjkmn> Smith"
    masker = Masker(compiled, KEY)

    (result,) = masker.mask_texts([text], found=[[Span(0, len(text), "PERSON")]])

    assert "Ann" not in result
    assert "Smith" not in result
    assert "<EMAIL_ADDRESS_bcdfghjkmn>" in result
    assert Restorer(masker.mapping).restore(result) == text
