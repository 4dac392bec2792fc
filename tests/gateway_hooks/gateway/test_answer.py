"""The way back without a server: what LiteLLM hands over, what the engine said, what the client gets."""

import asyncio
import json
from typing import Any

import pytest

from gateway_hooks.gateway.answer import Answer
from gateway_hooks.gateway.masking.mask import Mask
from gateway_hooks.gateway.ticket import Ticket
from gateway_hooks.metering.usage import UsageTap
from tests.gateway_hooks import scripted_worker
from tests.gateway_hooks.gateway.masking.policies import EMAIL, KEY, OWN, placeholder_of
from tests.gateway_hooks.gateway.masking.streams import (
    CHAT,
    MESSAGES,
    RESPONSES,
    documents,
    engine_events,
    texts,
    ticket_of,
)

EVENTS = b"text/event-stream"
IBAN = "DE89 3704 0044 0532 0130 00"


class Client:
    """What arrives at it, and when the request had ended."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.ended_before = -1

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    async def finish(self) -> None:
        self.ended_before = len(self.messages)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def status(self) -> int:
        return self.messages[0]["status"]


def answered(
    ticket: Ticket, parts: list[bytes], *, kind: bytes = EVENTS, engine: bytes | None = None
) -> Client:
    """``parts`` as LiteLLM sends them; ``engine`` is what the worker had sent by then, in pieces as small."""
    client = Client()

    async def run() -> None:
        answer = Answer(client.send, ticket, clock=lambda: 1.0, finish=client.finish)
        await answer({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for index, part in enumerate(parts):
            if engine is not None and ticket.tap is not None:
                size = len(engine) // len(parts) + 1
                ticket.tap.feed(engine[index * size : (index + 1) * size])
            await answer({"type": "http.response.body", "body": part, "more_body": index < len(parts) - 1})

    asyncio.run(run())
    return client


def tapped(path: str, mask: Mask | None = None, *, keep: bool = True, **body: Any) -> Ticket:
    ticket = ticket_of(path, mask, **body)
    ticket.tap = UsageTap(stream=True, keep=keep)
    return ticket


def cut(raw: bytes, size: int) -> list[bytes]:
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def joined(events: list[bytes]) -> bytes:
    return b"".join(event + b"\n\n" for event in events)


def test_a_chat_stream_is_the_engines_own_whatever_litellm_made_of_it():
    events = engine_events(CHAT, {"content": "a\u2028b", "by": 1}, n=2, logprobs=True)
    litellms = [b'data: {"choices":[{"index":0,"delta":{"content":"less"}}]}\n\n'] * 5 + [b"data: [DONE]\n\n"]

    client = answered(tapped(CHAT, n=2), litellms, engine=joined(events))

    without_usage = [event for event in events if b'"usage"' not in event]
    assert client.body == joined(without_usage)


@pytest.mark.parametrize("size", [1, 3, 50])
def test_events_and_characters_cut_anywhere_are_put_together(size: int):
    mask, placeholder = placeholder_of(EMAIL)
    raw = joined(engine_events(MESSAGES, {"content": f"é {placeholder} \u2028 é", "by": 2}))
    ticket = tapped(MESSAGES, mask, keep=False)
    ticket.tap.complete = True

    client = answered(ticket, cut(raw, size))

    assert texts(client.body)[0, "text"] == f"é {EMAIL} \u2028 é"
    assert ticket.outcome == "completed"


def test_a_request_has_ended_before_the_last_bytes_leave():
    ticket = tapped(CHAT)

    client = answered(ticket, [b"data: [DONE]\n\n"], engine=joined(engine_events(CHAT, {"content": "x"})))

    assert client.ended_before == len(client.messages) - 1


def test_an_error_event_of_the_engine_is_replaced_by_ours():
    events = [*engine_events(CHAT, {"content": "x"})[:2], b'data: {"error":{"message":"secret of worker-7"}}']
    ticket = tapped(CHAT)

    client = answered(ticket, [b"data: {}\n\n"], engine=joined(events))

    assert b"worker-7" not in client.body
    assert documents(client.body)[-1]["error"]["code"] == "upstream_error"
    assert ticket.outcome == "upstream_error"


def test_a_stream_that_the_engine_broke_off_is_not_complete_though_litellm_ends_it():
    ticket = tapped(CHAT)

    client = answered(ticket, [b"data: [DONE]\n\n"], engine=joined(engine_events(CHAT, {"content": "x"})[:2]))

    assert documents(client.body)[-1]["error"]["code"] == "upstream_error"


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_a_blocked_entity_of_the_models_ends_a_stream_before_it_is_seen(path: str):
    mask = Mask({}, {}, (OWN, KEY))
    events = engine_events(path, {"content": f"pay to {IBAN}, please.", "by": 4})
    ticket = tapped(path, mask, keep=path == CHAT)

    client = answered(ticket, [event + b"\n\n" for event in events], engine=joined(events))

    assert b"3704" not in client.body
    assert documents(client.body)[-1]["error"]["code"] == "pii_blocked"
    assert (ticket.outcome, ticket.reason) == ("rejected", "pii_blocked")


def plain(mask: Mask | None, content: str, *, parts: int = 1) -> tuple[Client, Ticket]:
    ticket = ticket_of(CHAT, mask, stream=False)
    raw = json.dumps(scripted_worker.whole(CHAT, {"model": "m"}, {"content": content})).encode()
    size = len(raw) // parts + 1
    return answered(ticket, cut(raw, size), kind=b"application/json"), ticket


@pytest.mark.parametrize("parts", [1, 3])
def test_a_plain_answer_is_restored_and_its_length_is_right(parts: int):
    mask, placeholder = placeholder_of(EMAIL)

    client, ticket = plain(mask, f"Dear {placeholder}", parts=parts)

    assert json.loads(client.body)["choices"][0]["message"]["content"] == f"Dear {EMAIL}"
    assert dict(client.messages[0]["headers"])[b"content-length"] == b"%d" % len(client.body)
    assert ticket.outcome == "completed"


def test_a_plain_answer_with_a_blocked_entity_is_an_error_instead():
    client, ticket = plain(Mask({}, {}, (OWN, KEY)), f"pay to {IBAN}")

    assert client.status == 400
    assert json.loads(client.body)["error"]["code"] == "pii_blocked"
    assert b"3704" not in client.body
    assert (ticket.outcome, ticket.reason, ticket.status) == ("rejected", "pii_blocked", 400)
    assert client.ended_before == 0
