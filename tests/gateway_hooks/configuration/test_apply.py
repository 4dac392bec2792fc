"""What a configuration does to bodies: refused, set, moved, added, and never undone by the client."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.configuration import apply, configure, validate
from gateway_hooks.configuration.parameters import UNSENT
from gateway_hooks.contract.snapshot import Bound, Configuration
from gateway_hooks.errors import GatewayError
from tests.gateway_hooks.configuration.bodies import BODIES, ENDPOINTS, GENERATING, asked, parsed

CHAT = ENDPOINTS["chat.completions"]
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
BOUNDS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.tuples(st.floats(0, 2), st.floats(0, 2)),
        "top_p": st.tuples(st.floats(0, 1), st.floats(0, 1)),
        "top_k": st.tuples(st.integers(1, 99), st.integers(1, 99)),
        "n": st.tuples(st.integers(1, 8), st.integers(1, 8)),
        "presence_penalty": st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    },
)


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """Any that holds numbers and words; no prompt, no lists of what is allowed."""
    bounds = {name: Bound(low=min(ends), high=max(ends)) for name, ends in draw(BOUNDS).items()}
    defaults = draw(st.fixed_dictionaries({}, optional={"seed": st.integers(0, 9), "max_tokens": st.just(7)}))
    stop = draw(st.lists(st.text(min_size=1, max_size=3), max_size=16, unique=True))
    return Configuration(version=1, bounds=bounds, defaults=defaults, stop=tuple(stop), max_output_tokens=99)


def changed(
    configuration: Configuration, document: dict[str, Any], name: str = "chat.completions"
) -> dict[str, Any]:
    endpoint = ENDPOINTS[name]
    return apply(configuration, parsed(endpoint, document).fields, endpoint).fields


def code_of(configuration: Configuration, document: dict[str, Any], name: str = "chat.completions") -> str:
    with pytest.raises(GatewayError) as caught:
        changed(configuration, document, name)
    return caught.value.code


# Always


@given(configurations(), asked())
def test_what_was_applied_stays_as_it_is_when_applied_again(configuration, both):
    endpoint, body = both
    once = apply(configuration, body.fields, endpoint)

    assert apply(configuration, once.fields, endpoint).fields == once.fields


@given(configurations(), asked())
def test_bounds_hold_for_every_body_sent_or_not(configuration, both):
    endpoint, body = both
    fields = apply(configuration, body.fields, endpoint).fields

    for name, bound in configuration.bounds.items():
        if name in endpoint.allowed:
            value = fields.get(name, UNSENT[name])
            everything = name == "top_k" and value <= 0
            assert everything is False or bound.high is None
            assert value >= bound.low
            assert value <= bound.high


@given(configurations(), st.text(max_size=9), asked())
def test_the_body_stays_one_that_the_checks_accept(configuration, prompt, both):
    endpoint, body = both
    prompted = msgspec.structs.replace(
        configuration, system_prompt=prompt.encode("utf-8", "replace").decode()
    )
    fields = apply(prompted, body.fields, endpoint).fields

    again = parsed(endpoint, fields).fields

    assert again == {name: value for name, value in fields.items() if (name, value) != ("n", 1)}


@given(configurations(), asked())
def test_the_clients_body_is_not_touched(configuration, both):
    endpoint, body = both
    before = copy.deepcopy(body.fields)

    apply(msgspec.structs.replace(configuration, system_prompt="x"), body.fields, endpoint)

    assert body.fields == before


@given(asked(sorted(BODIES)))
def test_an_empty_configuration_changes_nothing(both):
    endpoint, body = both

    assert apply(Configuration(version=1), body.fields, endpoint) == (body.fields, None, ())
    assert configure(body, Configuration(version=1), endpoint) == (body, None)


# System prompt


PROMPT = "You are Acme's assistant."


@given(asked())
def test_nothing_that_a_client_sends_removes_or_precedes_the_system_prompt(both):
    endpoint, body = both

    fields = apply(Configuration(version=1, system_prompt=PROMPT), body.fields, endpoint).fields

    assert first_words(endpoint.name, fields).startswith(PROMPT)
    assert fields["model"] == body.alias


def first_words(name: str, fields: dict[str, Any]) -> str:
    """What the model reads first."""
    match name:
        case "chat.completions":
            assert fields["messages"][0]["role"] in {"system", "developer"}
            return fields["messages"][0]["content"]
        case "messages":
            return fields["system"]
        case "responses":
            if fields.get("instructions"):
                return fields["instructions"]
            assert fields["input"][0]["role"] in {"system", "developer"}
            return fields["input"][0]["content"]
        case _:
            return fields["prompt"]


@given(asked())
def test_the_clients_own_words_are_all_still_there(both):
    endpoint, body = both
    fields = apply(Configuration(version=1, system_prompt=PROMPT), body.fields, endpoint).fields

    words = [word for word in texts(body.fields) if word]

    for word in words:
        assert any(word in text for text in texts(fields))


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [
            text for name, entry in value.items() if name not in {"role", "type"} for text in texts(entry)
        ]
    if isinstance(value, list):
        return [text for entry in value for text in texts(entry)]
    return []


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize(
    "content", ["Be brief.", [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]]
)
def test_there_is_one_system_message_with_both_texts(role, content):
    given = {"model": "m", "messages": [{"role": role, "content": content}, *HELLO["messages"]]}
    text = content if isinstance(content, str) else "Be\nbrief."

    messages = changed(Configuration(version=1, system_prompt=PROMPT), given)["messages"]

    assert messages == [{"role": role, "content": f"{PROMPT}\n\n{text}"}, *HELLO["messages"]]


def test_each_dialect_has_its_place_for_it():
    configuration = Configuration(version=1, system_prompt=PROMPT)
    user = [{"role": "user", "content": "hello"}]

    assert changed(configuration, HELLO)["messages"][0] == {"role": "system", "content": PROMPT}
    assert (
        changed(configuration, {"model": "m", "prompt": "Once"}, "completions")["prompt"] == f"{PROMPT}\nOnce"
    )
    assert changed(configuration, {"model": "m", "input": "hi"}, "responses")["instructions"] == PROMPT
    anthropic = {
        "model": "m",
        "max_tokens": 5,
        "messages": user,
        "system": [{"type": "text", "text": "Be brief."}],
    }
    assert changed(configuration, anthropic, "messages")["system"] == f"{PROMPT}\n\nBe brief."
    embedding = {"model": "m", "input": "hi"}
    assert changed(configuration, embedding, "embeddings") == embedding


def test_in_responses_the_inputs_own_system_message_takes_it():
    configuration = Configuration(version=1, system_prompt=PROMPT)
    items = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hi"}]

    alone = changed(configuration, {"model": "m", "input": items}, "responses")
    both = changed(configuration, {"model": "m", "input": items, "instructions": "Rhyme."}, "responses")

    assert "instructions" not in alone
    assert alone["input"][0]["content"] == f"{PROMPT}\n\nBe brief."
    assert (both["instructions"], both["input"]) == (f"{PROMPT}\n\nRhyme.", items)


@pytest.mark.parametrize("change", [{"prompt": [1, 2, 3]}, {"echo": True}])
def test_a_completion_that_could_get_around_it_is_refused(change):
    document = {"model": "m", "prompt": "Once", **change}

    assert (
        code_of(Configuration(version=1, system_prompt=PROMPT), document, "completions")
        == "invalid_parameter"
    )
    assert changed(Configuration(version=1), document, "completions")["model"] == "m"


# Parameters


def test_a_default_is_for_who_sends_none():
    configuration = Configuration(version=1, defaults={"temperature": 0.5, "top_k": 4, "max_tokens": 9})

    fields = changed(configuration, {**HELLO, "temperature": 0.1})

    assert (fields["temperature"], fields["top_k"], fields["max_tokens"]) == (0.1, 4, 9)
    assert "max_tokens" not in changed(configuration, {**HELLO, "max_completion_tokens": 5})


def test_a_default_is_skipped_where_the_endpoint_lacks_it():
    configuration = Configuration(version=1, defaults={"top_k": 4, "max_tokens": 9, "temperature": "hot"})
    endpoint = ENDPOINTS["responses"]

    applied = apply(configuration, {"model": "m", "input": "hi"}, endpoint)

    assert applied.fields == {"model": "m", "input": "hi", "max_output_tokens": 9}
    assert applied.notes == ("skipped:top_k", "defaulted:max_output_tokens", "skipped:temperature")


@pytest.mark.parametrize(
    ("sent", "bound", "served"),
    [
        ({"temperature": 2}, Bound(high=0.5), 0.5),
        ({"temperature": 0}, Bound(low=0.5), 0.5),
        ({"temperature": 0.7}, Bound(low=0.5, high=1), 0.7),
        ({}, Bound(high=0.5), 0.5),
        ({}, Bound(low=0.5), None),
    ],
)
def test_a_value_is_moved_to_the_nearest_end(sent, bound, served):
    fields = changed(Configuration(version=1, bounds={"temperature": bound}), {**HELLO, **sent})

    assert fields.get("temperature") == served


@pytest.mark.parametrize("sent", [{}, {"top_k": -1}, {"top_k": 0}, {"top_k": 99}])
def test_all_tokens_is_more_than_any_number_of_them(sent):
    fields = changed(Configuration(version=1, bounds={"top_k": Bound(high=50)}), {**HELLO, **sent})

    assert fields["top_k"] == 50
    assert isinstance(fields["top_k"], int)


def test_stop_words_come_first_and_the_clients_stay_while_there_is_room():
    configuration = Configuration(version=1, stop=("END", "STOP"))
    many = [str(number) for number in range(16)]

    assert changed(configuration, HELLO)["stop"] == ["END", "STOP"]
    assert changed(configuration, {**HELLO, "stop": "x"})["stop"] == ["END", "STOP", "x"]
    assert changed(configuration, {**HELLO, "stop": ["END"]})["stop"] == ["END", "STOP"]
    assert changed(configuration, {**HELLO, "stop": many})["stop"] == ["END", "STOP", *many[:14]]
    anthropic = {**HELLO, "max_tokens": 5, "stop_sequences": ["x"]}
    assert changed(configuration, anthropic, "messages")["stop_sequences"] == ["END", "STOP", "x"]
    assert "stop" not in changed(configuration, {"model": "m", "input": "hi"}, "responses")


def test_the_cap_and_the_defaults_reach_the_body():
    configuration = Configuration(
        version=1, defaults={"max_tokens": 20}, bounds={"n": Bound(high=2)}, max_output_tokens=50
    )

    body, cap = configure(parsed(CHAT, {**HELLO, "n": 5}), configuration, CHAT)

    assert (body.max_output, body.choices, cap) == (20, 2, 50)


# What is allowed


@pytest.mark.parametrize("name", sorted(BODIES))
def test_endpoints_that_are_not_listed_are_refused(name: str):
    documents = {
        "chat.completions": HELLO,
        "completions": {"model": "m", "prompt": "x"},
        "responses": {"model": "m", "input": "x"},
        "messages": {**HELLO, "max_tokens": 5},
        "embeddings": {"model": "m", "input": "x"},
    }
    others = tuple(documents.keys() - {name})

    assert (
        code_of(Configuration(version=1, endpoints=others), documents[name], name) == "endpoint_not_allowed"
    )
    assert changed(Configuration(version=1, endpoints=(name,)), documents[name], name) == documents[name]


@given(asked())
def test_only_listed_tools_are_offered_or_forced(both):
    endpoint, body = both
    tools = body.fields.get("tools", [])
    choice = body.fields.get("tool_choice")
    wanted = {(tool.get("function") or tool)["name"] for tool in tools}
    if isinstance(choice, dict):
        wanted.add((choice.get("function") or choice)["name"])
    configuration = Configuration(version=1, tools=("look_up",))

    if wanted <= {"look_up"}:
        assert apply(configuration, body.fields, endpoint).fields == body.fields
    else:
        with pytest.raises(GatewayError) as caught:
            apply(configuration, body.fields, endpoint)
        assert caught.value.code == "tool_not_allowed"
        assert any(f"`{name}`" in caught.value.message for name in wanted - {"look_up"})


def test_an_empty_list_of_tools_allows_none():
    document = {**HELLO, "tools": [{"type": "function", "function": {"name": "buy"}}]}

    assert code_of(Configuration(version=1, tools=()), document) == "tool_not_allowed"
    assert changed(Configuration(version=1, tools=()), HELLO) == HELLO


@given(configurations())
def test_what_the_tests_apply_could_be_published(configuration):
    validate(configuration)


def test_every_generating_endpoint_is_among_the_tested():
    assert {endpoint.name for endpoint in ENDPOINTS.values() if endpoint.generates} == set(GENERATING)
