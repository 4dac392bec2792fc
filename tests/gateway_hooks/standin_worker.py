"""A stand-in for a vLLM worker: it checks the gateway's signature with the contract, and answers like one.

It is no vLLM: it repeats which model it was asked for, so that a test can see where a request went.
What it does is told by the request's text: ``[fail 500]``, ``[hang]``, ``[break]``, ``[slow]``, ``[refuse]``,
``[chunks N]``, ``[die]`` (the process ends at once), ``[drop]`` (the head of an answer, then nothing). The
last two and ``fail`` may name a worker and a digest: ``[die at worker-1]``, ``[fail 404 for aaaa]``: only
that worker does it then, or any for that adapter. ``GET /seen`` lists what arrived, for the tests alone.
"""

import argparse
import asyncio
import json
import os
import re
import time
from collections import deque
from typing import Any

import uvicorn

from gateway_hooks.contract.identity import HEADER, IdentityError, Keyring, parse_keyring, verify

PROMPT_TOKENS = 11
CACHED_TOKENS = 4
WORDS = ["the", "stand", "in", "answers"]
FAULT = re.compile(r"\[(die|drop|fail (\d+))(?: at ([\w-]+))?(?: for (\w+))?\]")


class Standin:
    def __init__(self, keyring: Keyring, worker_id: str) -> None:
        self._keyring = keyring
        self._worker_id = worker_id
        self.seen: deque[dict[str, Any]] = deque(maxlen=1000)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["path"] == "/seen":
            await _json(send, 200, list(self.seen))
            return
        raw = await _read(receive)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        entry: dict[str, Any] = {"path": scope["path"], "headers": headers, "body": json.loads(raw or b"{}")}
        if scope["path"] != "/health":
            self.seen.append(entry)
        try:
            identity = verify(
                headers.get(HEADER, ""),
                self._keyring,
                now=time.time(),
                worker_id=self._worker_id,
                method=scope["method"],
                path=scope["path"],
                body=raw,
            )
        except IdentityError as error:
            entry["identity_error"] = error.code
            await _json(send, 401, {"error": {"message": str(error)}})
            return
        entry["identity"] = {name: getattr(identity, name) for name in identity.__struct_fields__}
        if scope["path"] == "/health":
            await _json(send, 200, {})
            return
        entry["state"] = "running"
        entry["worker_id"] = self._worker_id
        try:
            await _answer(entry, send, await_gone=_gone(receive))
            entry["state"] = "done"
        except (asyncio.CancelledError, ConnectionError):
            entry["state"] = "aborted"


async def _answer(entry, send, *, await_gone) -> None:
    body, path = entry["body"], entry["path"]
    text = json.dumps(body.get("messages") or body.get("prompt") or body.get("input"))
    gone = asyncio.create_task(await_gone)
    try:
        if fault := _fault(entry, text):
            await _suffer(fault, send)
        elif "[refuse]" in text:
            message = "This model's maximum context length is 2048 tokens, at worker-7."
            await _json(send, 400, {"error": {"message": message}})
        elif "[hang]" in text:
            await gone
            raise ConnectionError
        elif body.get("stream"):
            await _stream(entry, send, text, gone)
        else:
            await _json(send, 200, _whole(path, body))
    finally:
        gone.cancel()


def _fault(entry, text: str) -> re.Match[str] | None:
    """The first one in the text that is meant for this worker and this adapter."""
    for fault in FAULT.finditer(text):
        here = fault[3] in (None, entry["worker_id"])
        if here and (fault[4] is None or entry["body"]["model"].startswith("adapter-" + fault[4])):
            return fault
    return None


async def _suffer(fault: re.Match[str], send) -> None:
    if fault[1] == "die":
        os._exit(1)
    if fault[1] == "drop":
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        message = "the stand-in drops the connection, as it was told"
        raise RuntimeError(message)
    await _json(send, int(fault[2]), {"error": {"message": "secret internals of worker-7"}})


def _words(body, text: str) -> list[str]:
    match = re.search(r"\[chunks (\d+)\]", text)
    return [f"w{n}" for n in range(int(match[1]))] if match else [*WORDS, "as", body["model"]]


async def _stream(entry, send, text: str, gone) -> None:
    body, path = entry["body"], entry["path"]
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
    )
    words = _words(body, text)
    for index, word in enumerate(words):
        if gone.done():
            raise ConnectionError
        if "[break]" in text and index == 2:
            message = "the stand-in breaks off, as it was told"
            raise RuntimeError(message)
        if "[slow]" in text:
            await asyncio.wait({gone}, timeout=0.05)
        for event in _events(path, body, index, word):
            await send({"type": "http.response.body", "body": event, "more_body": True})
        entry["sent"] = index + 1
    for event in _last_events(path, body, words):
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _data(value) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _usage(completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion,
        "total_tokens": PROMPT_TOKENS + completion,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
    }


def _responses_usage(completion: int) -> dict[str, Any]:
    return {
        "input_tokens": PROMPT_TOKENS,
        "output_tokens": completion,
        "total_tokens": PROMPT_TOKENS + completion,
        "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def _frame(body, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": body["model"]}


def _events(path: str, body, index: int, word: str) -> list[bytes]:
    if path == "/v1/responses":
        delta = {"type": "response.output_text.delta", "item_id": "m1", "output_index": 0, "content_index": 0}
        whole = {**delta, "delta": word + " ", "sequence_number": index + 1}
        return [b"event: response.output_text.delta\n" + _data(whole)]
    if path == "/v1/completions":
        choice: dict[str, Any] = {"index": 0, "text": word + " ", "finish_reason": None, "logprobs": None}
        return [_data({**_frame(body, "text_completion"), "choices": [choice]})]
    delta = {"content": word + " "} if index else {"role": "assistant", "content": word + " "}
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return [_data({**_frame(body, "chat.completion.chunk"), "choices": [choice]})]


def _last_events(path: str, body, words: list[str]) -> list[bytes]:
    if path == "/v1/responses":
        done = {
            "type": "response.completed",
            "response": _response(body, words),
            "sequence_number": len(words) + 1,
        }
        return [b"event: response.completed\n" + _data(done)]
    kind, empty = "chat.completion.chunk", {"index": 0, "delta": {}, "finish_reason": "stop"}
    if path == "/v1/completions":
        kind, empty = "text_completion", {"index": 0, "text": "", "finish_reason": "stop"}
    events = [_data({**_frame(body, kind), "choices": [empty]})]
    if body.get("stream_options", {}).get("include_usage"):
        events.append(_data({**_frame(body, kind), "choices": [], "usage": _usage(len(words))}))
    return [*events, b"data: [DONE]\n\n"]


def _response(body, words: list[str]) -> dict[str, Any]:
    content = [{"type": "output_text", "text": " ".join(words), "annotations": []}]
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": body["model"],
        "status": "completed",
        "output": [
            {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": content}
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _responses_usage(len(words)),
    }


def _whole(path: str, body) -> dict[str, Any]:
    words = [*WORDS, "as", body["model"]]
    if path == "/v1/embeddings":
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": n, "embedding": [0.5, 0.25]} for n in range(len(inputs))]
        usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS, "completion_tokens": 0}
        return {"object": "list", "model": body["model"], "data": data, "usage": usage}
    if path == "/v1/responses":
        return _response(body, words)
    if path == "/v1/completions":
        choice: dict[str, Any] = {
            "index": 0,
            "text": " ".join(words),
            "finish_reason": "stop",
            "logprobs": None,
        }
        frame = _frame(body, "text_completion")
    else:
        message = {"role": "assistant", "content": " ".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        frame = _frame(body, "chat.completion")
    return {**frame, "choices": [choice], "usage": _usage(len(words))}


async def _gone(receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _json(send, status: int, value) -> None:
    body = json.dumps(value, default=str).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive, send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--worker-id", required=True)
    arguments = parser.parse_args()
    keyring = parse_keyring(os.environ["TENANTRY_IDENTITY_KEYS"])
    standin = Standin(keyring, arguments.worker_id)
    uvicorn.run(standin, host="127.0.0.1", port=arguments.port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
