"""Masking as the desk asks for it: by tenant, with the deeper tier, without ever letting a body pass."""

import asyncio
import json
from typing import Any

import pytest

from gateway_hooks.contract.pii import PiiPolicy
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.masking.chunks import Chunks
from gateway_hooks.gateway.masking.documents import readable
from gateway_hooks.gateway.masking.door import Masking
from gateway_hooks.gateway.masking.items import Items
from gateway_hooks.gateway.masking.mask import Mask
from gateway_hooks.gateway.masking.policies import Policies
from gateway_hooks.pii.errors import PiiError
from gateway_hooks.pii.spans import Span
from tests.gateway_hooks.gateway.masking.policies import EMAIL, QUOTED, policy

SECRET = b"s" * 32
PERSON = "Anna Quist"
NAMES = PiiPolicy(entities={"PERSON": "mask", "EMAIL_ADDRESS": "mask"}, ner=True)


class Knows:
    """A deeper tier that knows one name."""

    async def detect(self, texts: Any, entities: Any, timeout: float) -> list[list[Span]]:  # noqa: ASYNC109
        assert set(entities) == {"PERSON"}
        assert timeout > 0
        places = [text.find(PERSON) for text in texts]
        return [[] if place < 0 else [Span(place, place + len(PERSON), "PERSON")] for place in places]


class Late:
    async def detect(self, *_: Any) -> list[list[Span]]:
        message = "too late"
        raise PiiError(message)


def mask(
    fields: dict[str, Any], asked: PiiPolicy | None, *, tenant: str = "t1", deeper: Any = None
) -> tuple[dict[str, Any], Mask | None]:
    masking = Masking(SECRET, deeper=deeper)
    return asyncio.run(masking.mask("chat.completions", fields, tenant_id=tenant, policy=asked))


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize(
    "asked", [None, PiiPolicy(entities={}), PiiPolicy(entities={"EMAIL_ADDRESS": "allow"})]
)
def test_without_anything_to_look_for_the_body_is_the_same_object(asked: PiiPolicy | None):
    fields = {"prompt": [1, 2], **said(EMAIL)}

    assert mask(fields, asked) == (fields, None)


def test_two_tenants_never_share_a_placeholder_and_one_keeps_its_own():
    first, again, other = (mask(said(EMAIL), policy(), tenant=tenant)[0] for tenant in ("t1", "t1", "t2"))

    assert first == again
    assert first != other


def test_a_long_body_is_masked_like_a_short_one_while_others_run():
    text = f"Write to {EMAIL} today. " * 2000
    turns = 0

    async def masked() -> dict[str, Any]:
        nonlocal turns
        done = asyncio.create_task(
            Masking(SECRET).mask("chat.completions", said(text), tenant_id="t1", policy=policy())
        )
        while not done.done():
            turns += 1
            await asyncio.sleep(0)
        return (await done)[0]

    long = asyncio.run(masked())

    short = mask(said(f"Write to {EMAIL} today. "), policy())[0]
    assert long["messages"][0]["content"] == short["messages"][0]["content"] * 2000
    assert turns > 10


def test_a_policy_that_cannot_be_put_in_force_lets_nothing_pass():
    with pytest.raises(GatewayError) as caught:
        mask(said("hello"), PiiPolicy(entities={"NO_SUCH_ENTITY": "mask"}))

    assert caught.value.code == Code.PII_FAILED


def test_names_of_the_deeper_tier_are_masked_in_texts_and_in_json():
    call = {"name": "send", "arguments": json.dumps({"to": PERSON})}
    fields = {
        "messages": [
            {"role": "user", "content": f"I am {PERSON}."},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": call}]},
        ]
    }

    sent, made = mask(fields, NAMES, deeper=Knows())

    assert PERSON not in json.dumps(sent)
    (placeholder,) = made.mapping
    assert sent["messages"][0]["content"] == f"I am {placeholder}."
    arguments = sent["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"to": placeholder}


def test_a_name_that_stands_in_json_alone_is_masked_there():
    call = {"name": "send", "arguments": json.dumps({"to": f"for {PERSON}!"})}
    message = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": call}]}

    sent, made = mask({"messages": [message]}, NAMES, deeper=Knows())

    (placeholder,) = made.mapping
    arguments = sent["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"to": f"for {placeholder}!"}


@pytest.mark.parametrize("deeper", [None, Late()])
def test_without_the_deeper_tier_that_the_policy_asks_for_nothing_passes(deeper: Any):
    with pytest.raises(GatewayError) as caught:
        mask(said("hello"), NAMES, deeper=deeper)

    assert caught.value.code == Code.PII_FAILED


def test_a_policy_is_compiled_once_until_it_changes():
    policies = Policies(kept=2)

    first = policies.compiled("t1", policy())
    assert policies.compiled("t1", policy()) is first
    assert policies.compiled("t1", policy(completions=True)) is not first
    policies.compiled("t2", policy())
    policies.compiled("t3", policy())
    assert set(policies._compiled) == {"t2", "t3"}


@pytest.mark.parametrize("action", ["mask", "block", "redact"])
def test_a_policy_that_names_people_but_has_the_deeper_tier_off_lets_no_word_pass(action: Any):
    with pytest.raises(GatewayError) as caught:
        mask(said("hello"), PiiPolicy(entities={"PERSON": action}))

    assert caught.value.code == Code.PII_FAILED


def test_a_tool_result_that_only_looks_like_json_is_read_by_the_deeper_tier():
    result = {"role": "tool", "tool_call_id": "c", "content": "{" + PERSON}

    sent, _ = mask({"messages": [result]}, NAMES, deeper=Knows())

    assert PERSON not in json.dumps(sent)


@pytest.mark.parametrize(
    "content",
    [
        ["card 4111 1111", " 1111 1111"],
        ["41111", "1111111", "1111"],
        [f"{'so ' * 100}4111 1111 ", "", f"1111 1111{' so' * 100}"],
        ["to anna.qu", "ist@example.org"],
    ],
)
def test_a_value_over_the_seam_of_two_parts_is_masked_and_comes_back(content: list[str]):
    parts = [{"type": "text", "text": piece} for piece in content]

    sent, made = mask({"messages": [{"role": "user", "content": parts}]}, policy())

    seen = "".join(part["text"] for part in sent["messages"][0]["content"])
    assert "1111" not in seen
    assert "quist" not in seen.replace("<", "")
    assert "anna.qu" not in seen
    assert made.whole(seen) == "".join(content)


def test_words_beside_a_value_in_the_next_part_stay():
    parts = [{"type": "text", "text": text} for text in (f"Ask {EMAIL}", "now or later")]

    sent, _ = mask({"messages": [{"role": "user", "content": parts}]}, policy())

    assert sent["messages"][0]["content"][1]["text"] == "now or later"


def test_a_value_over_the_seam_of_two_json_parts_is_refused():
    parts = [{"type": "text", "text": text} for text in ("41111111", "11111111")]

    with pytest.raises(GatewayError) as caught:
        mask({"messages": [{"role": "tool", "tool_call_id": "c", "content": parts}]}, policy())

    assert caught.value.code == Code.PII_UNMASKABLE


@pytest.mark.parametrize(
    "text",
    ["so " * 400_000, " ".join(f"u{number}@example.org" for number in range(6_000))],
    ids=["text", "values"],
)
def test_more_than_can_be_masked_in_good_time_is_refused(text: str):
    with pytest.raises(GatewayError) as caught:
        mask(said(text), policy())

    assert caught.value.code == Code.PII_FAILED


@pytest.mark.parametrize("form", ["json_object", "json_schema"])
@pytest.mark.parametrize("own", [False, True])
def test_an_answer_that_was_to_be_json_stays_json_in_whole_and_in_pieces(form: str, own: bool):  # noqa: FBT001
    fields = {**said(f"Greet {QUOTED}"), "response_format": {"type": form}}
    sent, made = mask(fields, policy(completions=own))
    (placeholder,) = made.mapping
    written = json.dumps({"to": placeholder})
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": written}}]}
    chunks = Chunks(made)
    pieces = [
        {"choices": [{"index": 0, "delta": {"content": letter}, "finish_reason": None}]} for letter in written
    ]
    pieces.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})

    streamed = [
        event["choices"][0]["delta"].get("content", "") for piece in pieces for event in chunks.event(piece)
    ]

    assert QUOTED not in json.dumps(sent)
    assert json.loads(readable(made, answer)["choices"][0]["message"]["content"]) == {"to": QUOTED}
    assert json.loads("".join(streamed)) == {"to": QUOTED}


def test_a_response_that_was_to_be_json_stays_json_and_its_thinking_stays_text():
    fields = {"input": f"Greet {QUOTED}", "text": {"format": {"type": "json_object"}}}
    _, made = asyncio.run(Masking(SECRET).mask("responses", fields, tenant_id="t1", policy=policy()))
    (placeholder,) = made.mapping
    written = json.dumps({"to": placeholder})
    place = {"output_index": 0, "content_index": 0, "item_id": "m"}
    delta = {"type": "response.output_text.delta", "delta": written, **place}
    done = {"type": "response.output_text.done", "text": written, **place}
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": placeholder}]}
    item = {"type": "message", "content": [{"type": "output_text", "text": written}]}
    items = Items(made)

    (streamed,), (repeated,) = items.event(delta), items.event(done)
    thinking, message = readable(made, {"output": [thought, item]})["output"]

    for text in (streamed["delta"], repeated["text"], message["content"][0]["text"]):
        assert json.loads(text) == {"to": QUOTED}
    assert thinking["content"][0]["text"] == QUOTED


def test_a_body_without_a_letter_needs_no_deeper_tier():
    assert mask(said("1 + 1 = ?"), NAMES)[0] == said("1 + 1 = ?")
