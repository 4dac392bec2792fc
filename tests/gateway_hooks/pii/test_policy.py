import re

import msgspec
import pytest

from gateway_hooks.contract.pii import CustomPattern, DenyList, PiiPolicy, PiiPolicyError
from gateway_hooks.pii.detect import detect
from gateway_hooks.pii.policy import MAX_RULES, compile_policy, validate_policy


def pattern(text, name="CASE"):
    return PiiPolicy(entities={}, patterns=(CustomPattern(name=name, pattern=text, action="mask"),))


def deny(*words, name="PROJECT"):
    return PiiPolicy(entities={}, deny_lists=(DenyList(name=name, words=words, action="mask"),))


def found(text, policy):
    return [text[span.start : span.end] for span in detect(text, compile_policy(policy))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(a", "missing )"),
        ("a*", "empty string"),
        (r"\b", "empty string"),
        ("a|", "empty string"),
        (r"(a)\1", "RE2 does not take"),
        ("(?=a)", "RE2 does not take"),
        ("a{1001}", "RE2 does not take"),
        (r"(?:\pL{100}){9}", "too large"),
        ("", "1 to"),
        ("a" * 1001, "1 to"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_pattern_that_cannot_be_run_is_refused_with_the_reason(text, words):
    with pytest.raises(PiiPolicyError, match=re.escape(words)) as refusal:
        validate_policy(pattern(text))

    assert refusal.value.code == "pii_policy_invalid"


@pytest.mark.parametrize("name", ["case", "CASE-1", "_CASE", "CASE_", "CREDIT_CARD", "", "C" * 41])
def test_a_name_that_is_no_name_of_its_own_is_refused(name):
    with pytest.raises(PiiPolicyError, match="no name of its own"):
        validate_policy(pattern("a", name=name))


@pytest.mark.parametrize("words", [(), ("",), ("a", " "), ("a" * 200_001,)])
def test_a_deny_list_without_usable_words_is_refused(words):
    with pytest.raises(PiiPolicyError, match="needs words"):
        validate_policy(deny(*words))


def test_unknown_entities_actions_double_names_and_too_many_rules_are_refused():
    one = CustomPattern(name="CASE", pattern="a", action="mask")
    many = tuple(CustomPattern(name=f"CASE{n}", pattern="a", action="mask") for n in range(MAX_RULES + 1))
    for policy, words in (
        (PiiPolicy(entities={"NOBODY": "mask"}), "no such entity: NOBODY"),
        (PiiPolicy(entities={"US_SSN": "burn"}), "an action is one of"),
        (PiiPolicy(entities={}, patterns=(one, one)), "same name"),
        (PiiPolicy(entities={}, patterns=many), "more than"),
        (PiiPolicy(entities={"PERSON": "block", "NRP": "allow"}), "deeper tier finds PERSON, and it is off"),
    ):
        with pytest.raises(PiiPolicyError, match=words):
            validate_policy(policy)


def test_a_pattern_finds_what_it_says_anywhere_in_a_long_text():
    text = "x" * 1500 + " C-1 " + "y" * 600 + " C-22 " + "ü" * 3000 + " C-333"

    assert found(text, pattern(r"C-\d+")) == ["C-1", "C-22", "C-333"]


def test_a_pattern_that_looks_far_ahead_takes_no_square_of_time():
    assert len(found("a" * 20_000, pattern("a[^b]*b|a"))) == 20_000


def test_denied_words_are_found_whole_in_any_case_and_script():
    policy = deny("Ann", "Zürich AG", "blue moon", "张三", "Иван")
    text = "ann, ANN Ann's Annual Joann zÜRICH\nag 你张三是 blue  moon иван Иванов \uff41\uff4e\uff4e"

    assert found(text, policy) == [
        "ann",
        "ANN",
        "Ann",
        "zÜRICH\nag",
        "张三",
        "blue  moon",
        "иван",
        "\uff41\uff4e\uff4e",
    ]


def test_thousands_of_denied_words_cost_one_pass():
    words = tuple(f"word{n}" for n in range(5000))

    assert found("nothing word77 word5000 " * 100, deny(*words)) == ["word77"] * 100


def test_allowed_rules_are_not_run():
    allowed = PiiPolicy(entities={}, patterns=(CustomPattern(name="CASE", pattern="a", action="allow"),))

    assert found("aaa", allowed) == []


def test_a_policy_comes_back_from_json_as_it_was():
    policy = PiiPolicy(
        entities={"US_SSN": "block"},
        patterns=pattern("a").patterns,
        deny_lists=deny("b").deny_lists,
        ner=True,
    )

    assert msgspec.json.decode(msgspec.json.encode(policy), type=PiiPolicy) == policy
