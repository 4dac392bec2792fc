"""The allow-list, the bound and the seal, without a server."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.choices import MAX_CHOICES
from gateway_hooks.errors import GatewayError
from gateway_hooks.gateway.body.bound import prompt_bound
from gateway_hooks.gateway.body.endpoints import BY_PATH, ENDPOINTS, Endpoint
from gateway_hooks.gateway.body.parse import Body, clamp_output, parse
from gateway_hooks.gateway.seal import Seal, parsed, sealed

CHAT = BY_PATH["/v1/chat/completions"]
USER = [{"role": "user", "content": "hello"}]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(sorted({name for endpoint in ENDPOINTS for name in endpoint.allowed})) | st.text(
    max_size=6
)


REFUSALS = {"invalid_json", "invalid_parameter", "unsupported_parameter"}


def outcome(raw: bytes, endpoint: Endpoint) -> tuple[Body | None, str | None]:
    try:
        return parse(raw, endpoint), None
    except GatewayError as error:
        return None, error.code


def chat(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": USER, **fields}).encode()


@given(endpoint=st.sampled_from(ENDPOINTS), document=st.dictionaries(NAMES, JSON, max_size=8) | JSON)
def test_any_document_is_either_refused_by_code_or_holds_only_what_is_listed(endpoint, document: Any):
    body, refusal = outcome(json.dumps(document).encode(), endpoint)

    if body is None:
        assert refusal in REFUSALS
        return
    assert set(body.fields) <= set(endpoint.allowed)
    assert set(endpoint.required) <= set(body.fields)


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_refused_by_code_or_parsed(raw: bytes):
    body, refusal = outcome(raw, CHAT)

    assert (body is None) == (refusal in REFUSALS)


@pytest.mark.parametrize(("sent", "choices"), [({}, 1), ({"n": 1}, 1), ({"n": 3}, 3)])
def test_the_number_of_answers_is_told(sent: dict[str, int], choices: int):
    body = parse(chat(**sent), CHAT)

    assert body.choices == choices
    assert body.fields.get("n", 1) == choices


@pytest.mark.parametrize("count", [0, MAX_CHOICES + 1, True, 1.0, "2"])
def test_a_number_of_answers_out_of_bounds_is_refused(count: Any):
    assert outcome(chat(n=count), CHAT) == (None, "invalid_parameter")


def test_null_means_absent():
    body = parse(chat(temperature=None, logit_bias=None, unknown=None), CHAT)

    assert set(body.fields) == {"model", "messages"}


@pytest.mark.parametrize(
    ("fields", "limit", "expected"),
    [
        ({}, 256, 256),
        ({"max_tokens": 10}, 256, 10),
        ({"max_completion_tokens": 10}, 256, 10),
        ({"max_completion_tokens": 10, "max_tokens": 5}, 256, 5),
        ({"max_tokens": 9999}, 256, 256),
    ],
)
def test_the_output_cap_always_stands_under_one_name(fields: dict[str, int], limit: int, expected: int):
    clamped, cap = clamp_output(parse(chat(**fields), CHAT), CHAT, limit=limit)

    assert cap == clamped["max_tokens"] == expected
    assert "max_completion_tokens" not in clamped


@given(texts=st.lists(st.text(max_size=50), min_size=1, max_size=10))
def test_the_bound_covers_every_byte_of_every_text_and_a_margin_per_message(texts: list[str]):
    messages = [{"role": "user", "content": text} for text in texts]

    bound = prompt_bound({"messages": messages})

    assert bound >= sum(len(text.encode()) for text in texts) + 64 * len(texts) + 64


@given(ids=st.lists(st.integers(0, 1000), min_size=1, max_size=50))
def test_token_ids_are_counted_as_they_are(ids: list[int]):
    assert prompt_bound({"prompt": ids}) == 64 + 64 + len(ids)


def test_tools_and_tool_calls_count():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "x" * 100}}
    plain = prompt_bound({"messages": USER})

    with_call = prompt_bound({"messages": [*USER, {"role": "assistant", "tool_calls": [call]}]})
    with_tools = prompt_bound(
        {"messages": USER, "tools": [{"type": "function", "function": {"name": "f" * 100}}]}
    )

    assert with_call >= plain + 100
    assert with_tools >= plain + 200


SEAL = Seal(path=CHAT.upstream, model="adapter-x", cache_salt="salt", max_output=7, stream=True)


@given(document=st.dictionaries(NAMES | st.just("max_tokens"), JSON, max_size=8))
def test_what_leaves_is_what_was_sealed_whatever_came_between(document: dict[str, Any]):
    left = json.loads(sealed(document, SEAL))

    forced = {"model": "adapter-x", "cache_salt": "salt", "max_tokens": 7, "stream": True}
    assert {name: left[name] for name in forced} == forced
    assert left["stream_options"] == {"include_usage": True}
    assert set(left) <= set(CHAT.allowed) | {"cache_salt"}


@pytest.mark.parametrize(("choices", "left"), [(1, None), (3, 3)])
def test_as_many_answers_leave_as_were_reserved(choices: int, left: int | None):
    seal = msgspec.structs.replace(SEAL, choices=choices)

    assert json.loads(sealed({"n": 8}, seal)).get("n") == left


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{"])
def test_what_cannot_be_sealed_does_not_leave(raw: bytes):
    with pytest.raises(GatewayError):
        parsed(raw)


def test_a_response_is_never_stored_at_the_worker():
    seal = Seal(path="/v1/responses", model="m", cache_salt="s", max_output=7, stream=False)

    left = json.loads(sealed({"input": "x", "store": True, "previous_response_id": "y"}, seal))

    assert left == {
        "input": "x",
        "model": "m",
        "cache_salt": "s",
        "max_output_tokens": 7,
        "stream": False,
        "store": False,
    }
