"""A stand-in worker that answers by a script: reasoning, text and tool calls, whole or in small pieces.

A test puts the script with ``PUT /script/<tenant id>``. ``{0}``, ``{1}`` … in its texts stand for the first,
second … placeholder of the request as the worker saw it, so that a model can be played that repeats them;
``{last}`` stands for the newest message's text. What arrived is at ``GET /seen``, for the tests alone.
"""

import argparse
import json
import os
import re
import time
from collections import deque
from itertools import count
from operator import itemgetter
from typing import Any

import uvicorn

from gateway_hooks.contract.identity import HEADER, parse_keyring, verify
from tests.gateway_hooks.standin_worker import _data, _json, _lifespan, _read

PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]*_[0-9a-z]+>")
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
DEFAULT = {"content": "{last}"}


class ScriptedWorker:
    """A script has ``content``, ``reasoning``, ``tool_calls`` (``[{"name", "arguments"}]``), ``by`` (the
    characters per piece), ``cut`` (the bytes per network write), ``in_turn`` (one choice after the other) and
    ``error``: with ``status`` it is the whole answer, without it in mid-stream.
    """

    def __init__(self, worker_id: str) -> None:
        self._keyring = parse_keyring(os.environ["TENANTRY_IDENTITY_KEYS"])
        self._worker_id = worker_id
        self.seen: deque[dict[str, Any]] = deque(maxlen=1000)
        self.scripts: dict[str, dict[str, Any]] = {}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        raw = await _read(receive)
        path = scope["path"]
        if path == "/seen":
            await _json(send, 200, list(self.seen))
        elif path == "/health":
            await _json(send, 200, {})
        elif path.startswith("/script/"):
            self.scripts[path.removeprefix("/script/")] = json.loads(raw)
            await _json(send, 200, {})
        else:
            await self._answer(scope, raw, send)

    async def _answer(self, scope, raw: bytes, send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["path"]
        identity = verify(
            headers[HEADER],
            self._keyring,
            now=time.time(),
            worker_id=self._worker_id,
            method=scope["method"],
            path=path,
            body=raw,
        )
        body = json.loads(raw)
        tenant_id = identity.tenant_id
        self.seen.append(
            {"path": path, "headers": headers, "body": body, "identity": {"tenant_id": tenant_id}}
        )
        script = filled(self.scripts.get(tenant_id, DEFAULT), body)
        if "status" in script:
            await _json(send, script["status"], {"error": {"message": script["error"], "code": 1}})
        elif path == "/v1/embeddings":
            await _json(send, 200, embedding(body))
        elif body.get("stream"):
            made = events(path, body, script)
            if "error" in script:
                made = [*made[: len(made) // 2], _data({"error": {"message": script["error"], "code": 500}})]
            await _send_stream(send, b"".join(made), script.get("cut", 0))
        else:
            await _json(send, 200, whole(path, body, script))


def filled(script: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The script with what the worker saw put into its texts."""
    text = json.dumps({name: body.get(name) for name in ("messages", "prompt", "input", "instructions")})
    found = list(dict.fromkeys(PLACEHOLDER.findall(text)))
    given = {str(index): placeholder for index, placeholder in enumerate(found)}
    given["last"] = newest(body)

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\{(\w+)\}", lambda match: given.get(match[1], match[0]), value)
        if isinstance(value, list):
            return [fill(entry) for entry in value]
        if isinstance(value, dict):
            return {name: fill(entry) for name, entry in value.items()}
        return value

    return fill(script)


def newest(body: dict[str, Any]) -> str:
    last = body.get("messages") or body.get("input") or body.get("prompt")
    if isinstance(last, list):
        last = last[-1]
        last = last.get("content", last.get("output")) if isinstance(last, dict) else ""
    if isinstance(last, list):
        last = "".join(part["text"] for part in last)
    return last or ""


def pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)] if size else [text]


def embedding(body) -> dict[str, Any]:
    entry = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
    usage = {"prompt_tokens": 11, "total_tokens": 11}
    return {"object": "list", "model": body["model"], "data": [entry], "usage": usage}


def whole(path: str, body, script) -> dict[str, Any]:
    if path == "/v1/responses":
        return _response(body, script)
    frame = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": body["model"], "usage": USAGE}
    choices = [_choice(path, body, script, index) for index in range(body.get("n") or 1)]
    kind = "text_completion" if path == "/v1/completions" else "chat.completion"
    return {**frame, "object": kind, "choices": choices}


def _choice(path: str, body, script, index: int) -> dict[str, Any]:
    content = script.get("content", "")
    if path == "/v1/completions":
        logprobs = _text_logprobs([content]) if body.get("logprobs") is not None else None
        return {"index": index, "text": content, "finish_reason": "stop", "logprobs": logprobs}
    message: dict[str, Any] = {"role": "assistant", "content": content or None}
    if script.get("reasoning"):
        message["reasoning_content"] = script["reasoning"]
    calls = script.get("tool_calls", [])
    if calls:
        message["tool_calls"] = [_call(entry, position) for position, entry in enumerate(calls)]
    finish = "tool_calls" if calls else "stop"
    logprobs = _chat_logprobs([content]) if body.get("logprobs") else None
    return {"index": index, "message": message, "finish_reason": finish, "logprobs": logprobs}


def _call(entry: dict[str, str], position: int) -> dict[str, Any]:
    function = {"name": entry["name"], "arguments": entry["arguments"]}
    return {"id": f"call_{position}", "type": "function", "function": function}


def _chat_logprobs(tokens: list[str]) -> dict[str, Any]:
    content = [{"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []} for token in tokens]
    return {"content": content}


def _text_logprobs(tokens: list[str]) -> dict[str, Any]:
    size = len(tokens)
    return {
        "tokens": tokens,
        "token_logprobs": [-0.5] * size,
        "top_logprobs": [{}] * size,
        "text_offset": [0] * size,
    }


def events(path: str, body, script) -> list[bytes]:
    if path == "/v1/responses":
        return _response_events(body, script)
    kind = "text_completion" if path == "/v1/completions" else "chat.completion.chunk"
    frame = {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": body["model"]}
    choices = range(body.get("n") or 1)
    steps = _text_steps(body, script) if path == "/v1/completions" else _chat_steps(body, script)
    ordered = [(step, index) for step in steps for index in choices]
    if script.get("in_turn"):
        ordered.sort(key=itemgetter(1))
    made = [
        _data({**frame, "choices": [{"index": index, "finish_reason": None, **step}]})
        for step, index in ordered
    ]
    if body.get("stream_options", {}).get("include_usage"):
        made.append(_data({**frame, "choices": [], "usage": USAGE}))
    return [*made, b"data: [DONE]\n\n"]


def _text_steps(body, script) -> list[dict[str, Any]]:
    asked = body.get("logprobs") is not None
    steps: list[dict[str, Any]] = [
        {"text": piece, "logprobs": _text_logprobs([piece]) if asked else None}
        for piece in pieces(script.get("content", ""), script.get("by", 0))
    ]
    return [*steps, {"text": "", "logprobs": None, "finish_reason": "stop"}]


def _chat_steps(body, script) -> list[dict[str, Any]]:
    by, asked = script.get("by", 0), body.get("logprobs")
    steps: list[dict[str, Any]] = [{"delta": {"role": "assistant", "content": ""}}]
    for piece in pieces(script.get("reasoning", ""), by):
        steps.append({"delta": {"reasoning_content": piece}})  # noqa: PERF401 - three alike loops read better
    for piece in pieces(script.get("content", ""), by):
        logprobs = _chat_logprobs([piece]) if asked else None
        steps.append({"delta": {"content": piece}, "logprobs": logprobs})
    calls = script.get("tool_calls", [])
    for position, entry in enumerate(calls):
        opened = _call({**entry, "arguments": ""}, position)
        steps.append({"delta": {"tool_calls": [{"index": position, **opened}]}})
        for piece in pieces(entry["arguments"], by):
            steps.append(  # noqa: PERF401
                {"delta": {"tool_calls": [{"index": position, "function": {"arguments": piece}}]}}
            )
    return [*steps, {"delta": {}, "finish_reason": "tool_calls" if calls else "stop"}]


def _items(script) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if script.get("reasoning"):
        content = [{"type": "reasoning_text", "text": script["reasoning"]}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": [], "content": content})
    if script.get("content"):
        text = {"type": "output_text", "text": script["content"], "annotations": []}
        frame = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        items.append({**frame, "content": [text]})
    for position, entry in enumerate(script.get("tool_calls", [])):
        ids = {"id": f"fc_{position}", "call_id": f"call_{position}", "status": "completed"}
        items.append({"type": "function_call", **ids, **entry})
    return items


def _response(body, script) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": body["model"],
        "status": "completed",
        "instructions": body.get("instructions"),
        "output": _items(script),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools", []),
        "usage": {
            "input_tokens": 11,
            "output_tokens": 7,
            "total_tokens": 18,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _response_events(body, script) -> list[bytes]:
    """As vLLM sends them: each item added, its deltas, its whole text, then everything once more."""
    done = _response(body, script)
    begun = {**done, "status": "in_progress", "output": [], "usage": None}
    numbers = count()
    made: list[bytes] = []

    def add(kind: str, **fields: Any) -> None:
        event = {"type": kind, **fields, "sequence_number": next(numbers)}
        made.append(f"event: {kind}\n".encode() + _data(event))

    add("response.created", response=begun)
    add("response.in_progress", response=begun)
    for position, item in enumerate(done["output"]):
        _item_events(add, item, position, script.get("by", 0))
    add("response.completed", response=done)
    return made


def _item_events(add, item: dict[str, Any], position: int, by: int) -> None:
    at = {"item_id": item["id"], "output_index": position}
    if item["type"] == "function_call":
        opened, text, kind, name = {**item, "arguments": ""}, item["arguments"], "function_call_arguments", ""
    else:
        opened = {**item, "content": []}
        text = item["content"][0]["text"]
        kind = "output_text" if item["type"] == "message" else "reasoning_text"
        name = "text"
        at["content_index"] = 0
    add("response.output_item.added", output_index=position, item={**opened, "status": "in_progress"})
    if item["type"] == "message":
        add("response.content_part.added", **at, part={**item["content"][0], "text": ""})
    logprobs = {"logprobs": []} if kind == "output_text" else {}
    for piece in pieces(text, by):
        add(f"response.{kind}.delta", **at, delta=piece, **logprobs)
    whole_text = {name: text} if name else {"arguments": text, "name": item["name"]}
    add(f"response.{kind}.done", **at, **whole_text, **logprobs)
    if item["type"] == "message":
        add("response.content_part.done", **at, part=item["content"][0])
    add("response.output_item.done", output_index=position, item=item)


async def _send_stream(send, raw: bytes, cut: int) -> None:
    """``cut`` splits events and characters wherever it falls."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for start in range(0, len(raw), cut or len(raw)):
        part = raw[start : start + (cut or len(raw))]
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--worker-id", required=True)
    arguments = parser.parse_args()
    worker = ScriptedWorker(arguments.worker_id)
    uvicorn.run(worker, host="127.0.0.1", port=arguments.port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
