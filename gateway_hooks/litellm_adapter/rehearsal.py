"""One request of each kind before the first client: LiteLLM imports and builds much only when it is asked.

No worker gets it, no limit counts it, no event tells of it: the ticket carries the answer, and the
transport hands that back.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from gateway_hooks.gateway.body.endpoints import BY_PATH
from gateway_hooks.gateway.inner import body_once, inner_scope
from gateway_hooks.gateway.reading import Message, Receive, Scope, Send
from gateway_hooks.gateway.ticket import CURRENT, Ticket
from gateway_hooks.litellm_adapter.config import MODEL

log = logging.getLogger("tenantry.gateway")

App = Callable[[Scope, Receive, Send], Awaitable[None]]
SECONDS = 20.0
_OK = 200
_TEXT = "hello"
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
_HEAD = {"id": "rehearsal", "created": 0, "model": MODEL}
_MESSAGES = [{"role": "user", "content": _TEXT}]
_CHAT = {
    **_HEAD,
    "object": "chat.completion",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": _TEXT}}],
    "usage": _USAGE,
}
_CHUNK = {
    **_HEAD,
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "finish_reason": "stop", "delta": {"role": "assistant", "content": _TEXT}}],
}
_STREAM = f"data: {json.dumps(_CHUNK)}\n\ndata: [DONE]\n\n".encode()
_COMPLETION = {
    **_HEAD,
    "object": "text_completion",
    "choices": [{"index": 0, "finish_reason": "stop", "text": _TEXT, "logprobs": None}],
    "usage": _USAGE,
}
_EMBEDDING = {
    "object": "list",
    "model": MODEL,
    "data": [{"object": "embedding", "index": 0, "embedding": [0.0]}],
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}
_RESPONSE = {
    "id": "resp_rehearsal",
    "object": "response",
    "created_at": 0,
    "status": "completed",
    "model": MODEL,
    "output": [
        {
            "type": "message",
            "id": "msg_rehearsal",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": _TEXT, "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
}

_SCENES: tuple[tuple[str, dict[str, Any], bytes], ...] = (
    ("/v1/chat/completions", {"messages": _MESSAGES}, json.dumps(_CHAT).encode()),
    ("/v1/chat/completions", {"messages": _MESSAGES, "stream": True}, _STREAM),
    ("/v1/completions", {"prompt": _TEXT}, json.dumps(_COMPLETION).encode()),
    ("/v1/embeddings", {"input": _TEXT}, json.dumps(_EMBEDDING).encode()),
    ("/v1/responses", {"input": _TEXT}, json.dumps(_RESPONSE).encode()),
    ("/v1/messages", {"messages": _MESSAGES, "max_tokens": 1}, json.dumps(_CHAT).encode()),
)


async def rehearse(app: App) -> None:
    """A failure costs the first client time and nothing else, so it is reported and the start goes on."""
    for path, body, answer in _SCENES:
        try:
            async with asyncio.timeout(SECONDS):
                status = await asyncio.create_task(_play(app, path, body, answer))
        except Exception as error:  # noqa: BLE001 - whatever LiteLLM raises
            log.warning("the rehearsal of %s failed: %s", path, type(error).__name__)
        else:
            if status != _OK:
                log.warning("the rehearsal of %s was answered %d", path, status)


async def _play(app: App, path: str, body: dict[str, Any], answer: bytes) -> int:
    """In a task of its own, so that the ticket is seen by nobody else. The answer's status."""
    endpoint = BY_PATH[path]
    CURRENT.set(
        Ticket(
            request_id=secrets.token_hex(16),
            endpoint=endpoint,
            ts=datetime.fromtimestamp(time.time(), UTC),
            started=time.monotonic(),
            rehearsal=answer,
        )
    )
    status = 0

    async def look(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    raw = json.dumps({"model": MODEL, **body}).encode()
    await app(inner_scope(endpoint, raw), body_once(raw), look)
    return status
