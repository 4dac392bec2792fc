"""Keeps the leases of this process's requests alive, so that they may be short and end soon if it dies."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol

from redis.asyncio import Redis

from gateway_hooks.admission.ask import Ask
from gateway_hooks.admission.redis_ledger import AdmissionLedger
from gateway_hooks.redis_door import RedisAway

BATCH = 200


class Door(Protocol):
    """``RedisDoor``, as far as it is used here."""

    async def ask(self, question: Callable[[Redis], Awaitable[Any]], *, now: float) -> Any: ...


class LeaseKeeper:
    """The requests in flight. Times are monotonic seconds.

    ``lapsed`` counts requests whose lease had ended before it was renewed: the process or Redis was away for
    longer than a lease, and they ran on uncounted.
    """

    def __init__(self, ledger: AdmissionLedger) -> None:
        self._ledger = ledger
        self._held: dict[str, tuple[Ask, float]] = {}
        self.lapsed = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, ask: Ask, *, now: float) -> None:
        """``ask`` was admitted."""
        self._held[ask.request_id] = (ask, now)

    def drop(self, request_id: str) -> None:
        """Before the end is sent; what was never held is no error."""
        self._held.pop(request_id, None)

    def due(self, every: timedelta, *, now: float) -> list[Ask]:
        """Not renewed for as long as ``every``."""
        latest = now - every.total_seconds()
        return [ask for ask, renewed in self._held.values() if renewed <= latest]

    async def renew(self, door: Door, every: timedelta, *, now: float) -> int:
        """Renew what is due; how many. Raises ``RedisAway``; what was not renewed is due again."""
        due = self.due(every, now=now)
        for start in range(0, len(due), BATCH):
            asks = due[start : start + BATCH]
            answers = await door.ask(lambda client, asks=asks: self._send(client, asks), now=now)  # type: ignore[misc]
            for ask, renewed in zip(asks, answers, strict=True):
                self._renewed(ask, lapsed=renewed == 0, now=now)
        return len(due)

    async def run(self, door: Door, every: timedelta, *, clock: Callable[[], float] = time.monotonic) -> None:
        """For ever. ``every`` is well below a lease's length, so that one lost renewal does not end it."""
        while True:
            await asyncio.sleep(every.total_seconds() / 4)
            try:
                await self.renew(door, every, now=clock())
            except RedisAway:
                continue  # the door has logged and counted it

    async def _send(self, client: Redis, asks: list[Ask]) -> list[int]:
        async with client.pipeline(transaction=False) as pipeline:
            await self._ledger.renew(pipeline, asks)
            return await pipeline.execute()

    def _renewed(self, ask: Ask, *, lapsed: bool, now: float) -> None:
        if ask.request_id not in self._held:
            return  # it ended meanwhile
        if lapsed:
            self.lapsed += 1
            self.drop(ask.request_id)
        else:
            self._held[ask.request_id] = (ask, now)
