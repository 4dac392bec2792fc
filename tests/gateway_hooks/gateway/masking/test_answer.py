"""Restored answers in every dialect: the same texts however they were cut, and nothing else changed."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_hooks.gateway.masking.mask import Mask
from gateway_hooks.gateway.rewrite import Rewriter
from tests.gateway_hooks import scripted_worker
from tests.gateway_hooks.gateway.masking.policies import EMAIL, KEY, OWN, QUOTED, mask_of
from tests.gateway_hooks.gateway.masking.streams import (
    BODIES,
    CHAT,
    COMPLETIONS,
    MESSAGES,
    RESPONSES,
    documents,
    engine_events,
    rewritten,
    texts,
    ticket_of,
)

SCRIPT = {
    "content": "Dear {0}, you are {1}.\u2028 Yours, <b>{0}</b> <EMAIL_",
    "reasoning": "This is {1} <",
    "tool_calls": [
        {"name": "send", "arguments": json.dumps({"to": "{0}", "as": "{1}"})},
        {"name": "send", "arguments": json.dumps({"cc": ["{1}", "x"]})},
    ],
}


def scene(by: int, *, own: bool = False) -> tuple[Mask, dict[str, Any]]:
    """A request about two values, and the script with their placeholders."""
    mask, placeholders = mask_of(EMAIL, QUOTED, own=own)
    script = {**SCRIPT, "by": by}
    raw = json.dumps(script)
    for index, placeholder in enumerate(placeholders):
        raw = raw.replace(f"{{{index}}}", placeholder)
    return mask, json.loads(raw)


def said(path: str) -> list[str]:
    """The texts that the client must read."""
    content = SCRIPT["content"].replace("{0}", EMAIL).replace("{1}", QUOTED)
    if path == COMPLETIONS:
        return [content]
    return [SCRIPT["reasoning"].replace("{1}", QUOTED), content]


def arguments_of(found: dict[tuple[Any, ...], str]) -> list[Any]:
    return [json.loads(text) for text in found.values() if text.startswith("{")]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("by", [0, 1, 2, 3, 7, 11, 30])
def test_every_text_of_a_stream_is_restored_however_it_was_cut(path: str, by: int):
    mask, script = scene(by)

    found = texts(rewritten(path, mask, engine_events(path, script)))

    assert {text for text in found.values() if not text.startswith("{")} == set(said(path))
    if path != COMPLETIONS:
        assert arguments_of(found) == [{"to": EMAIL, "as": QUOTED}, {"cc": [QUOTED, "x"]}]


@settings(max_examples=60)
@given(by=st.integers(1, 40), order=st.randoms(use_true_random=False))
def test_choices_and_tool_calls_that_come_in_any_order_are_kept_apart(by: int, order: Any):
    mask, script = scene(by)
    events = engine_events(CHAT, script, n=3)
    lanes: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    for event in events:
        if b'"choices":[{' in event:
            lanes[json.loads(event[len(b"data: ") :])["choices"][0]["index"]].append(event)
    mixed = []
    while any(lanes.values()):
        mixed.append(lanes[order.choice([index for index, lane in lanes.items() if lane])].pop(0))

    found = texts(rewritten(CHAT, mask, mixed, n=3))

    for index in range(3):
        assert found[index, "content"] == said(CHAT)[1]
        assert found[index, "reasoning_content"] == said(CHAT)[0]
        assert json.loads(found[index, "tool", 0]) == {"to": EMAIL, "as": QUOTED}


def test_what_was_held_back_leaves_with_the_chunk_that_finishes():
    mask, script = scene(1)

    chunks = documents(rewritten(CHAT, mask, engine_events(CHAT, script)))

    (finish,) = [c for c in chunks if c["choices"] and c["choices"][0].get("finish_reason")]
    assert finish["choices"][0]["delta"]["content"] == "<EMAIL_"


def test_a_choice_that_never_finishes_gets_its_rest_before_the_end_mark():
    mask, script = scene(1)
    events = [e for e in engine_events(CHAT, script) if b'"finish_reason":"' not in e]

    raw = rewritten(CHAT, mask, events)

    assert texts(raw)[0, "content"] == said(CHAT)[1]
    assert raw.endswith(b"data: [DONE]\n\n")


def test_only_what_could_begin_a_placeholder_is_held_back():
    mask, script = scene(1)
    events = engine_events(COMPLETIONS, {"content": "a < b <EMAIL", "by": 1})

    chunks = [chunk["choices"][0]["text"] for chunk in documents(rewritten(COMPLETIONS, mask, events[:12]))]

    assert chunks == ["a", " ", "", "< ", "b", " ", "", "", "", "", "", ""]
    assert script


@pytest.mark.parametrize("path", BODIES)
def test_bytes_that_need_no_look_pass_untouched(path: str):
    mask, _ = scene(0)
    script = {"content": "Nothing to see: 1 > 0, é \u2028.", "by": 5, "tool_calls": SCRIPT["tool_calls"][1:]}
    events = [event for event in engine_events(path, script) if b'"usage"' not in event]

    for known in (mask, None):
        assert rewritten(path, known, events) == b"".join(event + b"\n\n" for event in events)


def test_usage_and_log_probabilities_are_unharmed():
    mask, script = scene(9)
    events = engine_events(CHAT, script, logprobs=True)

    chunks = documents(rewritten(CHAT, mask, events, stream_options={"include_usage": True}))

    assert chunks[-1]["usage"] == scripted_worker.USAGE
    assert chunks[-1]["choices"] == []
    sent = [json.loads(event[len(b"data: ") :]) for event in events[:-1]]
    assert [c["choices"] and c["choices"][0].get("logprobs") for c in chunks] == [
        c["choices"] and c["choices"][0].get("logprobs") for c in sent
    ]


def test_a_client_that_did_not_ask_for_usage_gets_none():
    mask, script = scene(9)

    raw = rewritten(CHAT, mask, engine_events(CHAT, script))

    assert b'"usage"' not in raw
    assert raw.endswith(b"data: [DONE]\n\n")


def test_events_that_repeat_whole_texts_are_restored_and_numbered_without_gaps():
    mask, script = scene(4)

    events = documents(rewritten(RESPONSES, mask, engine_events(RESPONSES, script)))

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    (done,) = [event for event in events if event["type"] == "response.output_text.done"]
    assert done["text"] == said(RESPONSES)[1]
    call = next(event for event in events if event["type"] == "response.function_call_arguments.done")
    assert json.loads(call["arguments"]) == {"to": EMAIL, "as": QUOTED}
    output = events[-1]["response"]["output"]
    assert output[1]["content"][0]["text"] == said(RESPONSES)[1]
    assert json.loads(output[2]["arguments"]) == {"to": EMAIL, "as": QUOTED}


def test_named_events_keep_their_names():
    mask, script = scene(4)

    raw = rewritten(MESSAGES, mask, engine_events(MESSAGES, script))

    for event in raw.split(b"\n\n")[:-1]:
        name, data = event.split(b"\n")
        assert name == b"event: " + json.loads(data[len(b"data: ") :])["type"].encode()


def whole(path: str, mask: Mask, answer: dict[str, Any]) -> dict[str, Any]:
    return json.loads(Rewriter(ticket_of(path, mask)).whole(json.dumps(answer).encode()))


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
def test_a_plain_answer_is_restored_in_all_its_texts(path: str):
    mask, script = scene(0)
    body = {"model": "m", **BODIES[path], "n": 2}

    answer = whole(path, mask, scripted_worker.whole(path, body, script))

    if path == CHAT:
        for choice in answer["choices"]:
            message = choice["message"]
            assert [message["reasoning_content"], message["content"]] == said(CHAT)
            calls = [json.loads(call["function"]["arguments"]) for call in message["tool_calls"]]
            assert calls == [{"to": EMAIL, "as": QUOTED}, {"cc": [QUOTED, "x"]}]
    elif path == COMPLETIONS:
        assert [choice["text"] for choice in answer["choices"]] == said(COMPLETIONS) * 2
    else:
        reasoning, message, call, _ = answer["output"]
        assert [reasoning["content"][0]["text"], message["content"][0]["text"]] == said(RESPONSES)
        assert json.loads(call["arguments"]) == {"to": EMAIL, "as": QUOTED}


def test_a_plain_message_is_restored_and_its_tool_input_stays_an_object():
    mask, (email, quoted) = mask_of(EMAIL, QUOTED)
    content = [
        {"type": "thinking", "thinking": quoted, "signature": "s"},
        {"type": "text", "text": email},
        {"type": "tool_use", "id": "c", "name": "send", "input": {"to": quoted, "arguments": quoted}},
    ]

    answer = whole(MESSAGES, mask, {"type": "message", "content": content, "usage": {"output_tokens": 7}})

    assert [block.get("thinking") or block.get("text") for block in answer["content"][:2]] == [QUOTED, EMAIL]
    assert answer["content"][2]["input"] == {"to": QUOTED, "arguments": QUOTED}
    assert answer["usage"] == {"output_tokens": 7}


OTHER = "other.person@example.net"
WRITTEN = {
    "content": f"I know {OTHER} well, she said.",
    "reasoning": f"Who? {OTHER} then.",
    "tool_calls": [{"name": "send", "arguments": json.dumps({"to": OTHER, "card": 4111111111111111})}],
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("by", [0, 1, 5])
def test_what_the_model_writes_itself_is_masked_in_every_text_of_a_stream(path: str, by: int):
    mask = Mask({}, {}, (OWN, KEY))
    asked = {"logprobs": 1} if path == COMPLETIONS else {"logprobs": True}

    raw = rewritten(path, mask, engine_events(path, {**WRITTEN, "by": by}, **asked))

    assert b"other" not in raw
    found = texts(raw)
    contents = [text for text in found.values() if text.startswith("I know <EMAIL_ADDRESS_")]
    assert contents[0].endswith("> well, she said.")
    if path != COMPLETIONS:
        ((arguments,),) = [arguments_of(found)]
        assert arguments["to"].startswith("<EMAIL_ADDRESS_")
        assert arguments["card"].startswith("<CREDIT_CARD_")
    assert mask.counts["EMAIL_ADDRESS"] == (1 if path == COMPLETIONS else 3)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
def test_what_the_model_writes_itself_is_masked_in_plain_answers(path: str):
    mask = Mask({}, {}, (OWN, KEY))
    body = {"model": "m", **BODIES[path], "logprobs": 1}

    answer = whole(path, mask, scripted_worker.whole(path, body, WRITTEN))

    assert "other" not in json.dumps(answer)
    assert "4111" not in json.dumps(answer)
