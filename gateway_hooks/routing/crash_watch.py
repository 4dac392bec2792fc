"""After a broken connection: did the worker die under it, or did only the connection?"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.redis_door import RedisAway
from gateway_hooks.routing.dead_letters import DeadLetters, Suspect
from gateway_hooks.routing.health import Pulse
from gateway_hooks.routing.table import WorkerTable

log = logging.getLogger("tenantry.gateway.routing")

CONFIRM_SECONDS = 15.0
"""An engine that died takes its server with it within seconds; its launcher starts another boot."""
GRACE_SECONDS = 2.0
"""So long after a failure a server may still not know that its engine is dead."""
ASK_EVERY_SECONDS = 0.25
WITNESS_SECONDS = 1.0
"""So long after a death is known all gateways have noted who was there."""
MAX_WATCHED = 256
REDIS_TRIES = 20


class CrashWatch:
    """Runs beside the requests; none waits for it. Made inside the running loop."""

    def __init__(
        self,
        letters: DeadLetters,
        table: WorkerTable,
        feel: Callable[[WorkerRecord], Awaitable[Pulse]],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._letters = letters
        self._table = table
        self._feel = feel
        self._clock = clock
        self._felt: dict[str, tuple[float, asyncio.Task[Pulse]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def suspect(self, one: Suspect, worker: WorkerRecord) -> None:
        """``worker`` as the request was sent to it. A worker that is told to stop does not crash."""
        if len(self._tasks) < MAX_WATCHED and self._state(worker) != "draining":
            task = asyncio.create_task(self._watch(one, worker))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def answered(self, tenant_id: str, endpoint: str, fields: Mapping[str, Any]) -> None:
        """A worker answered this in full: should it be under suspicion, it is no more."""
        fingerprint = self._letters.suspected(tenant_id, endpoint, fields)
        if fingerprint is not None and len(self._tasks) < MAX_WATCHED:
            task = asyncio.create_task(self._clear(tenant_id, fingerprint))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *(task for _, task in self._felt.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, one: Suspect, worker: WorkerRecord) -> None:
        at = self._clock()
        try:
            await _insist(lambda now: self._letters.was_there(one, now=now))
            if not await self._dies(worker):
                await _insist(lambda now: self._letters.was_not_there(one, now=now))
                return
            await asyncio.sleep(WITNESS_SECONDS)
            await _insist(lambda now: self._letters.crashed(one, at=at, now=now))
        except RedisAway:
            log.warning("Redis is away, the crash of worker %s teaches nothing", worker.id)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a watch: nobody waits for it
            log.error("the crash of worker %s teaches nothing: %s", worker.id, type(error).__name__)  # noqa: TRY400

    async def _clear(self, tenant_id: str, fingerprint: str) -> None:
        try:
            await _insist(lambda now: self._letters.clear(tenant_id, fingerprint, now=now))
        except RedisAway:
            log.warning("Redis is away, a request stays under suspicion until it is answered again")

    async def _dies(self, worker: WorkerRecord) -> bool:
        """Whether this boot is seen dead, before it is seen alive some time after the failure."""
        loop = asyncio.get_running_loop()
        failed = loop.time()
        while loop.time() < failed + CONFIRM_SECONDS:
            state = self._state(worker)
            if state in {"draining", "gone"}:
                return state == "gone"
            pulse = await self._feel_once(worker)
            if pulse == "refused":
                return True
            if pulse == "alive" and loop.time() >= failed + GRACE_SECONDS:
                return False
            await asyncio.sleep(ASK_EVERY_SECONDS)
        return False

    async def _feel_once(self, worker: WorkerRecord) -> Pulse:
        """One question for all that ask at about the same time."""
        now = asyncio.get_running_loop().time()
        at, task = self._felt.get(worker.id, (-math.inf, None))
        if task is None or task.cancelled() or now - at >= ASK_EVERY_SECONDS:
            at, task = self._felt[worker.id] = now, asyncio.ensure_future(self._feel(worker))
        return await asyncio.shield(task)

    def _state(self, worker: WorkerRecord) -> str:
        """``gone`` where another boot has taken its place."""
        known = self._table.workers.get(worker.id)
        if known is None:
            return "unknown"
        return known.state if known.boot_id == worker.boot_id else "gone"


async def _insist(question: Callable[[float], Awaitable[object]]) -> None:
    """Redis may be slow just when workers die. Raises ``RedisAway`` after many tries."""
    loop = asyncio.get_running_loop()
    for _ in range(REDIS_TRIES - 1):
        try:
            await question(loop.time())
        except RedisAway:
            await asyncio.sleep(ASK_EVERY_SECONDS)
        else:
            return
    await question(loop.time())


async def follow(letters: DeadLetters, *, every: float) -> None:
    """Until cancelled: keep the list of what is refused fresh."""
    loop = asyncio.get_running_loop()
    while True:
        await letters.refresh(now=loop.time())
        await asyncio.sleep(every)
