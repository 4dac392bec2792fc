"""A stand-in for an engine in the gateway's soak: it counts by itself what every tenant really used.

It is no vLLM. It believes the signed identity, makes up to as many tokens as the body allows, some slowly,
and keeps its own books: ``GET /books`` tells, per tenant and key, requests, tokens, most at once and
which request ids ran. A request that is hung up on has used what was made until then.
"""

import argparse
import asyncio
import json
import os
import random
import time
from collections import defaultdict
from typing import Any

import uvicorn

from gateway_hooks.contract.identity import HEADER, parse_keyring, verify

PROMPT_BYTES_PER_TOKEN = 4


class Account:
    """What one scope used."""

    def __init__(self) -> None:
        self.prompt = self.completion = self.now = self.most = 0
        self.requests: list[str] = []

    def begin(self, request_id: str, prompt: int) -> None:
        self.requests.append(request_id)
        self.prompt += prompt
        self.now += 1
        self.most = max(self.most, self.now)


class Engine:
    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        self._keyring = parse_keyring(os.environ["TENANTRY_IDENTITY_KEYS"])
        self.accounts: defaultdict[str, Account] = defaultdict(Account)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        if scope["path"] == "/books":
            await _json(send, {name: vars(account) for name, account in self.accounts.items()})
        elif scope["path"] == "/health":
            await _json(send, {})
        else:
            await self._work(scope, receive, send)

    async def _work(self, scope: Any, receive: Any, send: Any) -> None:
        raw = b""
        while True:
            message = await receive()
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = dict(scope["headers"])
        identity = verify(
            headers[HEADER.encode()].decode(),
            self._keyring,
            now=time.time(),
            worker_id=self._worker_id,
            method="POST",
            path=scope["path"],
            body=raw,
        )
        body = json.loads(raw)
        dice = random.Random(identity.request_id)  # noqa: S311 - dice, not secrets
        prompt = max(1, len(json.dumps(body["messages"])) // PROMPT_BYTES_PER_TOKEN)
        wanted = dice.randint(1, body["max_tokens"])
        accounts = [self.accounts[identity.tenant_id], self.accounts[f"key.{identity.key_id}"]]
        for account in accounts:
            account.begin(identity.request_id, prompt)
        gone = asyncio.create_task(_gone(receive))
        try:
            await self._make(body, accounts, dice, (prompt, wanted), gone, send)
        finally:
            gone.cancel()
            for account in accounts:
                account.now -= 1

    @staticmethod
    async def _make(
        body: Any, accounts: Any, dice: Any, tokens: tuple[int, int], gone: Any, send: Any
    ) -> None:
        prompt, wanted = tokens
        stream = bool(body.get("stream"))
        pause = dice.choice([0, 0, 0.001, 0.01])
        if stream:
            await send(_start(b"text/event-stream"))
        for number in range(wanted):
            if pause:
                await asyncio.wait({gone}, timeout=pause)
            if gone.done():
                return
            for account in accounts:
                account.completion += 1
            if stream and number % 8 == 0:
                await send(_part(_chunk("tok ")))
        usage = {"prompt_tokens": prompt, "completion_tokens": wanted, "total_tokens": prompt + wanted}
        if not stream:
            await _json(send, _answer(usage))
            return
        await send(_part(_chunk("", finish="length")))
        await send(_part({**_head("chat.completion.chunk"), "choices": [], "usage": usage}))
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _head(kind: str) -> dict[str, Any]:
    return {"id": "soak", "object": kind, "created": 1_700_000_000, "model": "soak"}


def _chunk(text: str, *, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {**_head("chat.completion.chunk"), "choices": [choice]}


def _answer(usage: dict[str, int]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "tok"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**_head("chat.completion"), "choices": [choice], "usage": usage}


def _start(kind: bytes, *more: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), *more]}


def _part(value: Any) -> dict[str, Any]:
    data = b"data: " + json.dumps(value).encode() + b"\n\n"
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _json(send: Any, value: Any) -> None:
    body = json.dumps(value).encode()
    await send(_start(b"application/json", (b"content-length", b"%d" % len(body))))
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--worker-id", default="worker-1")
    chosen = parser.parse_args()
    uvicorn.run(
        Engine(chosen.worker_id), host="127.0.0.1", port=chosen.port, log_level="error", access_log=False
    )
