"""Every place of a body from which a text reaches the model, in each dialect."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.body.endpoints import BY_PATH, ENDPOINTS
from gateway_hooks.gateway.body.parse import parse
from gateway_hooks.gateway.masking.request import mask_body, texts_of
from gateway_hooks.gateway.masking.texts import SHAPES
from gateway_hooks.pii.errors import PiiError
from tests.gateway_hooks.gateway.masking.policies import CARD, EMAIL, QUOTED, masker

PARAMETERS = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "description": f"such as {EMAIL}", "enum": [EMAIL, "nobody"]},
        "description": {"type": "string", "default": f"{EMAIL}"},
    },
    "required": ["to"],
}
CALL = {"name": "send", "arguments": json.dumps({"to": EMAIL, "cc": [QUOTED], "n": 3})}
CHAT = {
    "model": "support",
    "messages": [
        {"role": "system", "content": f"You serve {EMAIL}."},
        {"role": "developer", "content": [{"type": "text", "text": f"{EMAIL}"}]},
        {"role": "user", "content": f"I am {EMAIL}", "name": EMAIL},
        {
            "role": "assistant",
            "content": f"Hello {EMAIL}",
            "reasoning_content": f"it is {EMAIL}",
            "tool_calls": [{"id": "call_1", "type": "function", "function": CALL}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"ok": EMAIL})},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "send", "description": f"to {EMAIL}", "parameters": PARAMETERS},
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "send"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "reply", "description": f"{EMAIL}", "schema": PARAMETERS},
    },
    "stop": [EMAIL],
}
RESPONSES = {
    "model": "support",
    "instructions": f"You serve {EMAIL}.",
    "input": [
        {"role": "user", "content": f"I am {EMAIL}"},
        {"role": "assistant", "content": [{"type": "output_text", "text": f"Hello {EMAIL}"}]},
        {"type": "function_call", "call_id": "call_1", **CALL},
        {"type": "function_call_output", "call_id": "call_1", "output": f"sent to {EMAIL}"},
    ],
    "tools": [{"type": "function", "name": "send", "description": f"to {EMAIL}", "parameters": PARAMETERS}],
    "text": {"format": {"type": "json_schema", "name": "reply", "schema": PARAMETERS}},
}
MESSAGES = {
    "model": "support",
    "max_tokens": 10,
    "system": [{"type": "text", "text": f"You serve {EMAIL}."}],
    "messages": [
        {"role": "user", "content": f"I am {EMAIL}"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": f"Hello {EMAIL}"},
                {
                    "type": "tool_use",
                    "id": "call_1",
                    "name": "send",
                    "input": {"to": EMAIL, EMAIL: [QUOTED]},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": f"sent to {EMAIL}"},
                {
                    "type": "tool_result",
                    "tool_use_id": "call_2",
                    "content": [{"type": "text", "text": f"sent to {EMAIL}"}],
                },
            ],
        },
    ],
    "tools": [{"name": "send", "description": f"to {EMAIL}", "input_schema": PARAMETERS}],
    "stop_sequences": [EMAIL],
}
BODIES = {
    "/v1/chat/completions": CHAT,
    "/v1/responses": RESPONSES,
    "/v1/messages": MESSAGES,
    "/v1/completions": {"model": "support", "prompt": f"I am {EMAIL}", "stop": EMAIL},
    "/v1/embeddings": {"model": "support", "input": f"I am {EMAIL}"},
}


def masked(path: str, body: dict[str, Any]) -> dict[str, Any]:
    endpoint = BY_PATH[path]
    return mask_body(endpoint.name, parse(json.dumps(body).encode(), endpoint).fields, masker())


@pytest.mark.parametrize("path", BODIES)
def test_no_value_is_left_anywhere_and_each_has_one_placeholder(path: str):
    sent = json.dumps(masked(path, BODIES[path]))

    assert "quist" not in sent
    assert "Boss" not in sent
    assert "<EMAIL_ADDRESS_" in sent
    placeholders = {part.split(">")[0] for part in sent.split("<EMAIL_ADDRESS_")[1:]}
    assert len(placeholders) == 1


@pytest.mark.parametrize("path", BODIES)
def test_what_holds_no_value_is_as_it_was(path: str):
    clean = json.loads(json.dumps(BODIES[path]).replace(EMAIL, "nobody").replace("Ann ", "Bob "))
    endpoint = BY_PATH[path]
    fields = parse(json.dumps(clean).encode(), endpoint).fields
    before = copy.deepcopy(fields)

    assert mask_body(endpoint.name, fields, masker()) == before


@pytest.mark.parametrize("path", BODIES)
def test_the_checked_body_itself_is_not_changed(path: str):
    endpoint = BY_PATH[path]
    fields = parse(json.dumps(BODIES[path]).encode(), endpoint).fields
    before = copy.deepcopy(fields)

    mask_body(endpoint.name, fields, masker())

    assert fields == before


def test_arguments_stay_json_and_keep_what_is_no_value():
    sent = masked("/v1/chat/completions", CHAT)

    arguments = json.loads(sent["messages"][3]["tool_calls"][0]["function"]["arguments"])
    assert arguments["n"] == 3
    assert arguments["to"].startswith("<EMAIL_ADDRESS_")
    assert arguments["cc"][0].startswith("<CODENAME_")


def test_a_number_that_is_masked_becomes_a_string_of_the_same_json():
    call = {"name": "pay", "arguments": '{"card": 4111111111111111, "cents": 1234567}'}
    message = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": call}]}

    sent = masked("/v1/chat/completions", {"model": "support", "messages": [message]})

    arguments = json.loads(sent["messages"][0]["tool_calls"][0]["function"]["arguments"])
    assert arguments["cents"] == 1234567
    assert arguments["card"].startswith("<CREDIT_CARD_")


def test_arguments_that_are_no_json_are_masked_as_text():
    call = {"name": "send", "arguments": f'{{"to": "{EMAIL}'}
    message = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": call}]}

    sent = masked("/v1/chat/completions", {"model": "support", "messages": [message]})

    assert "quist" not in json.dumps(sent)


def test_an_object_as_tool_input_stays_an_object():
    sent = masked("/v1/messages", MESSAGES)

    given = sent["messages"][1]["content"][1]["input"]
    assert given["to"].startswith("<EMAIL_ADDRESS_")
    assert set(given) == {"to", given["to"]}


def test_ids_and_names_pass_as_they_are():
    sent = masked("/v1/chat/completions", CHAT)

    assert sent["messages"][3]["tool_calls"][0]["id"] == sent["messages"][4]["tool_call_id"] == "call_1"
    assert sent["tools"][0]["function"]["name"] == sent["tool_choice"]["function"]["name"] == "send"
    assert sent["tools"][0]["function"]["parameters"]["required"] == ["to"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": f"send_to_{EMAIL}"}}]),
        (
            "tools",
            [{"type": "function", "function": {"name": "f", "parameters": {"properties": {EMAIL: {}}}}}],
        ),
        ("tool_choice", {"type": "function", "function": {"name": EMAIL}}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": EMAIL, "schema": {}}}),
        (
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"pattern": EMAIL}}},
        ),
        *(
            (
                "tools",
                [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": limit}}}}],
            )
            for limit in (
                {"minimum": 4111111111111111},
                {"maximum": 4.111111111111111e15},
                {"default": {"n": 4111111111111111}},
            )
        ),
    ],
)
def test_a_name_that_would_have_to_be_masked_is_refused_by_parameter_not_by_value(field: str, value: Any):
    body = {"model": "support", "messages": [{"role": "user", "content": "hello"}], field: value}

    with pytest.raises(GatewayError) as caught:
        masked("/v1/chat/completions", body)

    assert (caught.value.code, caught.value.param) == (Code.PII_UNMASKABLE, field)
    assert "quist" not in caught.value.message


def test_an_id_that_holds_a_value_becomes_the_same_one_in_all_its_places():
    call = {"id": f"call-{EMAIL}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {
        "model": "support",
        "messages": [
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call-{EMAIL}", "content": "fine"},
        ],
    }

    said, told = masked("/v1/chat/completions", body)["messages"]

    assert EMAIL not in json.dumps([said, told])
    assert said["tool_calls"][0]["id"] == told["tool_call_id"]


@pytest.mark.parametrize("number", ["4111111111111111.0", "4.111111111111111e15", "4111111111111111.00E0"])
def test_a_number_is_seen_however_json_writes_it(number: str):
    content = f'{{"paid": 12.5, "card": {number}}}'
    body = {"model": "support", "messages": [{"role": "tool", "tool_call_id": "c", "content": content}]}

    sent = json.loads(masked("/v1/chat/completions", body)["messages"][0]["content"])

    assert sent["paid"] == 12.5
    assert sent["card"].startswith("<CREDIT_CARD_")


@pytest.mark.parametrize(("path", "field"), [("/v1/completions", "prompt"), ("/v1/embeddings", "input")])
def test_token_ids_are_refused_since_nobody_can_look_into_them(path: str, field: str):
    with pytest.raises(GatewayError) as caught:
        masked(path, {"model": "support", field: [1, 2, 3]})

    assert (caught.value.code, caught.value.param) == (Code.PII_UNMASKABLE, field)


def test_a_blocked_entity_is_named_and_its_value_is_not():
    iban = "DE89 3704 0044 0532 0130 00"

    with pytest.raises(GatewayError) as caught:
        masked("/v1/completions", {"model": "support", "prompt": f"pay to {iban}"})

    assert caught.value.code == Code.PII_BLOCKED
    assert "IBAN_CODE" in caught.value.message
    assert "3704" not in caught.value.message
    assert caught.value.__cause__ is None


class Failing:
    def mask_texts(self, texts, _found=None):
        message = f"cannot mask {texts}"
        raise ValueError(message)


class GivingUp:
    def mask_texts(self, _texts, _found=None):
        raise PiiError


@pytest.mark.parametrize("broken", [Failing(), GivingUp()])
def test_whatever_fails_the_body_does_not_leave_and_no_text_is_told(broken: Any):
    with pytest.raises(GatewayError) as caught:
        mask_body("completions", {"prompt": EMAIL}, broken)

    assert caught.value.code == Code.PII_FAILED
    assert EMAIL not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_every_parameter_of_every_endpoint_has_a_shape(endpoint: Any):
    assert set(endpoint.allowed) <= set(SHAPES[endpoint.name])


@given(
    st.recursive(
        st.sampled_from([EMAIL, CARD, QUOTED, "hello", "1"]) | st.integers() | st.none() | st.booleans(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_no_value_is_left_in_any_tool_input(value: Any):
    block = {"type": "tool_use", "id": "c", "name": "f", "input": {"value": value}}
    fields = {"messages": [{"role": "assistant", "content": [block]}]}

    sent = json.dumps(mask_body("messages", fields, masker()))

    assert not any(secret in sent for secret in ("quist", "4111", "Boss"))
    assert "hello" not in json.dumps(fields) or "hello" in sent


def test_the_texts_of_a_request_come_in_the_order_of_its_members():
    fields = {"messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]}

    assert texts_of("chat.completions", fields) == ["one", "two"]
