"""What LiteLLM gets in place of a client's request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from gateway_hooks.gateway.body.endpoints import Endpoint
from gateway_hooks.gateway.reading import Message, Receive, Scope, Send

App = Callable[[Scope, Receive, Send], Awaitable[None]]


_TEXTS = frozenset(
    {
        *("messages", "prompt", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
        *("response_format", "text", "stop", "logit_bias", "suffix"),
    }
)
_STAND_INS: dict[str, dict[str, Any]] = {
    "chat.completions": {"messages": [{"role": "user", "content": "."}]},
    "completions": {"prompt": "."},
    "embeddings": {"input": "."},
    "responses": {"input": "."},
}


def for_litellm(endpoint: Endpoint, fields: Mapping[str, Any]) -> bytes:
    """The body that LiteLLM gets: without the texts, unless it has to translate them.

    What it does not see it cannot log, lose or change: the transport sends the body itself.
    """
    if endpoint.translated:
        return msgspec.json.encode(fields)
    kept = {name: value for name, value in fields.items() if name not in _TEXTS}
    return msgspec.json.encode(kept | _STAND_INS[endpoint.name])


def inner_scope(endpoint: Endpoint, raw: bytes) -> dict[str, Any]:
    """A request of our own making: no header, query or path of the client's."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": endpoint.path,
        "raw_path": endpoint.path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"gateway"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(raw)),
        ],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
    }


def body_once(raw: bytes) -> Receive:
    """The body, then nothing: a disconnect is the wrapper's to see."""
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": raw, "more_body": False}
        await asyncio.get_running_loop().create_future()
        return {"type": "http.disconnect"}

    return receive
