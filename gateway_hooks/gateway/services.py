"""What a gateway process holds: configuration, workers, Redis, events. Its tasks end with it."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from redis.asyncio import Redis

from gateway_hooks import routing, snapshot_store
from gateway_hooks.admission.ledger import AdmissionLedger
from gateway_hooks.admission.outage import OutageAllowance
from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import GatewayRecord, encode_record
from gateway_hooks.metering.emitter import Emitter
from gateway_hooks.redis_door import RedisAway, RedisDoor
from gateway_hooks.routing import WorkerTable
from gateway_hooks.settings import Settings
from gateway_hooks.snapshot_store import SnapshotStore

log = logging.getLogger("tenantry.gateway")

RESTART_SECONDS = 1.0


def wall_clock() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


class Services:
    """Made inside the running loop; ``start`` returns once the last good state is loaded."""

    def __init__(self, settings: Settings, *, clock: Callable[[], datetime] = wall_clock) -> None:
        self.settings = settings
        self.clock = clock
        self.door = RedisDoor(settings.redis_url, timeout=settings.redis_timeout, pause=settings.redis_pause)
        self.store = SnapshotStore(path=settings.folder / "snapshot.json", clock=clock)
        self.workers = WorkerTable(settings.folder / "workers.json")
        self.emitter = Emitter(door=self.door, folder=settings.folder, gateway_id=settings.gateway_id)
        self.ledger = AdmissionLedger(self.door.client)
        self.outage = OutageAllowance()
        self._started_at = clock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.store.load_disk()
        self.workers.load_disk()
        settings = self.settings
        jobs: dict[str, Callable[[], Awaitable[None]]] = {
            "snapshot": partial(snapshot_store.follow, self.store, self.door, poll=settings.snapshot_poll),
            "workers": partial(routing.follow, self.workers, self.door, poll=settings.workers_poll),
            "replay": partial(self.emitter.follow, poll=timedelta(seconds=1)),
            "record": partial(self._report, every=settings.record_interval),
        }
        for name, job in jobs.items():
            self._tasks.append(asyncio.create_task(keep_running(name, job), name=name))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self.door.ask(self._sign_off, now=time.monotonic())
        except RedisAway:
            log.debug("Redis is away; this gateway's record expires by itself")
        self.emitter.close()
        await self.door.close()

    def record(self) -> GatewayRecord:
        return GatewayRecord(
            id=self.settings.gateway_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            url=self.settings.url,
            snapshot_version=self.store.version,
            snapshot_loaded_at=self.store.loaded_at,
            snapshot_source=self.store.source,
            started_at=self._started_at,
            seen_at=self.clock(),
            spooled_events=self.emitter.spooled,
        )

    async def _report(self, *, every: timedelta) -> None:
        """Until cancelled: say what this process serves, every so often and at once on a change."""
        while True:
            self.store.changed.clear()
            try:
                await self.door.ask(self._say, now=time.monotonic())
            except RedisAway:
                log.debug("Redis is away, nobody sees this gateway's record")
            try:
                await asyncio.wait_for(self.store.changed.wait(), timeout=every.total_seconds())
            except TimeoutError:
                continue

    async def _say(self, client: Redis) -> None:
        record = self.record()
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.set(keys.gateway(record.id), encode_record(record), ex=keys.RECORD_TTL_SECONDS)
            pipeline.sadd(keys.GATEWAYS, record.id)
            await pipeline.execute()

    async def _sign_off(self, client: Redis) -> None:
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.delete(keys.gateway(self.settings.gateway_id))
            pipeline.srem(keys.GATEWAYS, self.settings.gateway_id)
            await pipeline.execute()


async def keep_running(name: str, job: Callable[[], Awaitable[None]]) -> None:
    """The outermost loop of a background job: a failure is reported and the job starts again."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("background job %s failed; it starts again", name)
        await asyncio.sleep(RESTART_SECONDS)
