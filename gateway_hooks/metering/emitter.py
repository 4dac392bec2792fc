"""Where events go: the stream; the spool while Redis is away; back into the stream afterwards."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway_hooks.contract import keys
from gateway_hooks.metering.spool import Spool, abandoned
from gateway_hooks.redis_door import RedisAway, RedisDoor

log = logging.getLogger("tenantry.gateway.metering")

REPLAY_BATCH = 500


class Emitter:
    """``emit`` returns once the event is in the stream or fsynced; it never raises for Redis."""

    def __init__(self, *, door: RedisDoor, folder: Path, gateway_id: str) -> None:
        self._door = door
        self._parent = folder / "spool"
        self._own = self._parent / gateway_id
        self._spool = Spool(self._own)
        self._writing = asyncio.Lock()

    @property
    def spooled(self) -> int:
        return self._spool.count

    async def emit(
        self, event: bytes, *, now: float, before: Callable[[Pipeline], Awaitable[None]] | None = None
    ) -> bool:
        """``before`` may queue commands of the same round trip (the end of an admission).

        Whether Redis said that all of it was done; False leaves open what it did.
        """

        async def send(client: Redis) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                if before is not None:
                    await before(pipeline)
                pipeline.xadd(keys.GATEWAY_EVENTS, {keys.EVENT_FIELD: event})
                await pipeline.execute()

        try:
            await self._door.ask(send, now=now)
        except RedisAway:
            await self._keep(event)
            return False
        return True

    async def _keep(self, event: bytes) -> None:
        async with self._writing:
            await asyncio.to_thread(self._spool.append, [event])

    async def replay(self, *, now: float) -> None:
        """Send what was spooled, by this process and by dead ones. Raises ``RedisAway``.

        A crash in between sends an event twice; its id is the same, so the ledger keeps one.
        """
        if self._spool.count:
            async with self._writing:
                await self._drain(self._spool, now=now)
        for spool in abandoned(self._parent, own=self._own):
            await self._drain(spool, now=now)
            spool.remove()

    async def _drain(self, spool: Spool, *, now: float) -> None:
        events = await asyncio.to_thread(spool.read)
        for start in range(0, len(events), REPLAY_BATCH):
            await self._door.ask(_Batch(events[start : start + REPLAY_BATCH]), now=now)
        if events:
            log.info("replayed %d spooled events", len(events))
        spool.clear()

    async def follow(self, *, poll: timedelta) -> None:
        """Until cancelled: replay whenever there is something and Redis is there."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self.replay(now=loop.time())
            except RedisAway:
                log.debug("Redis is away, %d events are spooled", self.spooled)
            await asyncio.sleep(poll.total_seconds())

    def close(self) -> None:
        """Leave no empty folder behind; what is spooled stays for the next process."""
        if self._spool.count:
            self._spool.close()
        else:
            self._spool.remove()


class _Batch:
    def __init__(self, events: list[bytes]) -> None:
        self._events = events

    async def __call__(self, client: Redis) -> None:
        async with client.pipeline(transaction=False) as pipeline:
            for event in self._events:
                pipeline.xadd(keys.GATEWAY_EVENTS, {keys.EVENT_FIELD: event})
            await pipeline.execute()
