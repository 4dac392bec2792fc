"""Many callers, one script: who asks while a call is on its way goes with the next one.

A command of its own for each decision costs the event loop more than Redis needs to decide; under load a
batch shares that cost, and at rest nobody waits.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

LANES = 2
"""Batches on their way at once: while Redis works on one, the loop prepares the other."""
LARGEST = 64
"""Redis serves others between two batches."""


class _Call(NamedTuple):
    keys: Sequence[str]
    argument: bytes
    answer: "asyncio.Future[Any]"


class SharedScript:
    """One script on one Redis. Redis errors are raised to the callers whose call they met."""

    def __init__(self, client: Redis, text: str) -> None:
        self._client: Any = client  # redis-py leaves some of its methods untyped
        self._text = text
        self._sha = client.register_script(text).sha
        self._waiting: list[_Call] = []
        self._lanes: set[asyncio.Task[None]] = set()

    async def __call__(self, keys: Sequence[str], argument: bytes) -> Any:
        """The script's answer. A caller that is cancelled does not take its call back."""
        call = _Call(keys, argument, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if len(self._lanes) < LANES:
            lane = asyncio.create_task(self._drain())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return await call.answer

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:LARGEST], self._waiting[LARGEST:]
            try:
                answers = await self._send(batch)
            except (RedisError, OSError) as error:
                # Those behind would only find out the same, one timeout later.
                batch, self._waiting = batch + self._waiting, []
                answers = [error] * len(batch)
            except BaseException:
                for call in batch:
                    call.answer.cancel()
                raise
            for call, answer in zip(batch, answers, strict=True):
                _give(call.answer, answer)

    async def _send(self, batch: list[_Call]) -> list[Any]:
        answers = await self._execute(batch)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # Redis is new; the text goes first, and only what has not run is sent again.
            await self._client.script_load(self._text)
            again = await self._execute([batch[place] for place in unknown])
            for place, answer in zip(unknown, again, strict=True):
                answers[place] = answer
        return answers

    async def _execute(self, batch: list[_Call]) -> list[Any]:
        if len(batch) == 1:
            # At rest this is the rule, and a pipeline costs more.
            try:
                return [await self._client.execute_command(*self._command(batch[0]))]
            except ResponseError as error:
                return [error]
        async with self._client.pipeline(transaction=False) as pipeline:
            for call in batch:
                pipeline.execute_command(*self._command(call))
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
            return answers

    def _command(self, call: _Call) -> tuple[Any, ...]:
        return ("EVALSHA", self._sha, len(call.keys), *call.keys, call.argument)


def _give(future: "asyncio.Future[Any]", answer: Any) -> None:
    if future.done():
        return  # its caller was cancelled
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
