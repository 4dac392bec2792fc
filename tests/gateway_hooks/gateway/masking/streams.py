"""Answers as an engine sends them, and what a client reads out of them."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.body.parse import parse
from gateway_hooks.gateway.masking.mask import Mask
from gateway_hooks.gateway.rewrite import EVENT_END, Rewriter
from gateway_hooks.gateway.ticket import Ticket
from tests.gateway_hooks import scripted_worker

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hello"}]},
    COMPLETIONS: {"prompt": "hello"},
    RESPONSES: {"input": "hello"},
    MESSAGES: {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 10},
}


def ticket_of(path: str, mask: Mask | None = None, **changes: Any) -> Ticket:
    endpoint = BY_PATH[path]
    body = {"model": "support", **BODIES[path], "stream": True, **changes}
    ticket = Ticket(
        request_id="request-1",
        endpoint=endpoint,
        ts=datetime(2026, 11, 21, tzinfo=UTC),
        started=0.0,
        body=parse(json.dumps(body).encode(), endpoint),
    )
    ticket.mask = mask
    return ticket


def engine_events(path: str, script: dict[str, Any], **body: Any) -> list[bytes]:
    """Without their ends."""
    if path == MESSAGES:
        return block_events(script)
    asked = {"model": "m", **BODIES[path], "stream_options": {"include_usage": True}, **body}
    raw = b"".join(scripted_worker.events(path, asked, script))
    return raw.split(EVENT_END)[:-1]


def block_events(script: dict[str, Any]) -> list[bytes]:
    """As LiteLLM writes messages."""
    blocks = []
    if script.get("reasoning"):
        blocks.append(({"type": "thinking", "thinking": ""}, "thinking", script["reasoning"]))
    if script.get("content"):
        blocks.append(({"type": "text", "text": ""}, "text", script["content"]))
    for position, call in enumerate(script.get("tool_calls", [])):
        opened = {"type": "tool_use", "id": f"call_{position}", "name": call["name"], "input": {}}
        blocks.append((opened, "partial_json", call["arguments"]))
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"content": [], "model": "m"}}]
    kinds = {"thinking": "thinking_delta", "text": "text_delta", "partial_json": "input_json_delta"}
    for index, (opened, name, text) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": opened})
        for piece in scripted_worker.pieces(text, script.get("by", 0)):
            delta = {"type": kinds[name], name: piece}
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
    )
    events.append({"type": "message_stop"})
    return [f"event: {event['type']}\ndata: {json.dumps(event)}".encode() for event in events]


def rewritten(path: str, mask: Mask | None, events: list[bytes], **changes: Any) -> bytes:
    rewriter = Rewriter(ticket_of(path, mask, **changes))
    return b"".join(map(rewriter.event, events))


def documents(raw: bytes) -> list[dict[str, Any]]:
    lines = [line[len(b"data: ") :] for line in raw.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines]


def texts(raw: bytes) -> dict[tuple[Any, ...], str]:
    """Every text of a stream, put together as clients do: by choice, item or block, field and tool call."""
    found: dict[tuple[Any, ...], str] = defaultdict(str)
    for document in documents(raw):
        for key, piece in _pieces(document):
            found[key] += piece
    return {key: text for key, text in found.items() if text}


def _pieces(document: dict[str, Any]):
    for choice in document.get("choices", []):
        yield (choice["index"], "content"), choice.get("text") or ""
        delta = choice.get("delta") or {}
        for name in ("content", "reasoning_content"):
            yield (choice["index"], name), delta.get(name) or ""
        for call in delta.get("tool_calls") or []:
            yield (choice["index"], "tool", call["index"]), call["function"].get("arguments") or ""
    kind = document.get("type", "")
    if kind.startswith("response.") and kind.endswith(".delta"):
        yield (document["output_index"], kind), document["delta"]
    elif kind == "content_block_delta":
        (name,) = set(document["delta"]) - {"type"}
        yield (document["index"], name), document["delta"][name]
