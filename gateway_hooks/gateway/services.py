"""What a gateway process holds: configuration, workers, Redis, events. Its tasks end with it."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial

from redis.asyncio import Redis

from gateway_hooks import routing, snapshot_store
from gateway_hooks.admission.allowance import OutageAllowance, Uncounted, settle_outage
from gateway_hooks.admission.lease_keeper import LeaseKeeper
from gateway_hooks.admission.recent import RecentRefusals
from gateway_hooks.admission.redis_ledger import AdmissionLedger
from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import GatewayRecord, WorkerRecord, encode_record
from gateway_hooks.contract.pii import ENTITIES, PiiPolicy
from gateway_hooks.contract.snapshot import Pool
from gateway_hooks.fairness.queue import FairQueue
from gateway_hooks.gateway.masking.door import Masking
from gateway_hooks.gateway.pools import KnownPools, LastWords
from gateway_hooks.identity import IdentityDoor
from gateway_hooks.metering.emitter import Emitter
from gateway_hooks.metrics import watch
from gateway_hooks.metrics.metrics import Metrics, State
from gateway_hooks.pii.ner import NerPool
from gateway_hooks.redis_door import RedisAway, RedisDoor
from gateway_hooks.routing import WorkerTable, crash_watch, health
from gateway_hooks.routing.crash_watch import CrashWatch
from gateway_hooks.routing.dead_letters import REFRESH, DeadLetters
from gateway_hooks.routing.health import Health, Pulses
from gateway_hooks.routing.router import Router
from gateway_hooks.settings import Settings
from gateway_hooks.snapshot_store import SnapshotStore
from gateway_hooks.tokens.counter import TokenCounter
from gateway_hooks.tokens.store import TokenizerStore

log = logging.getLogger("tenantry.gateway")

RESTART_SECONDS = 1.0
MAX_BREAKERS_TOLD = 100
NER_START_SECONDS = 120.0


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
        self._health = Health()
        self._pulses = Pulses(settings.keyring, clock=clock)
        self.router = Router(self.workers, self._health)
        self.dead_letters = DeadLetters(self.door, settings.salt_secret)
        self.crashes = CrashWatch(self.dead_letters, self.workers, self._pulses.feel, clock=clock)
        self.emitter = Emitter(door=self.door, folder=settings.folder, gateway_id=settings.gateway_id)
        self.identity = IdentityDoor(settings.sealing_keys, salt_secret=settings.salt_secret)
        self.ledger = AdmissionLedger(self.door.client)
        self.leases = LeaseKeeper(self.ledger)
        self.refusals = RecentRefusals()
        self.outage = OutageAllowance()
        self.pools = KnownPools(self.store, self.workers)
        self.queue = FairQueue(
            self.door.client,
            gateway_id=settings.gateway_id,
            pools=self.pools,
            reaped=LastWords(self.emitter).tell,
        )
        self._tokenizers = TokenizerStore(settings.tokenizers)
        self.counter = TokenCounter(self._tokenizers)
        self._ner = NerPool(settings.ner_model) if settings.ner_model else None
        self.masking = Masking(settings.salt_secret, deeper=self._ner)
        self.metrics = Metrics(settings.folder / "metrics", process_id=settings.gateway_id)
        self._started_at = clock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.store.load_disk()
        self.workers.load_disk()
        await asyncio.to_thread(self._tokenizers.refresh, self._known_pools())
        await self._warm_up()
        settings = self.settings
        jobs: dict[str, Callable[[], Awaitable[None]]] = {
            "snapshot": partial(snapshot_store.follow, self.store, self.door, poll=settings.snapshot_poll),
            "workers": partial(routing.follow, self.workers, self.door, poll=settings.workers_poll),
            "health": partial(
                health.watch, self.workers, self._health, self._pulses.feel, alive=self._reached
            ),
            "dead letters": partial(crash_watch.follow, self.dead_letters, every=REFRESH.total_seconds()),
            "tokenizers": partial(self._tokenizers.follow, self._known_pools, poll=settings.snapshot_poll),
            "leases": partial(self.leases.run, self.door, settings.lease_renewal),
            "queue": self.queue.run,
            "allowance": partial(self._settle_allowance, every=settings.metrics_interval),
            "metrics": partial(watch.follow, self.metrics, self._state, every=settings.metrics_interval),
            "replay": partial(self.emitter.follow, poll=timedelta(seconds=1)),
            "record": partial(self._report, every=settings.record_interval),
        }
        for name, job in jobs.items():
            self._tasks.append(asyncio.create_task(keep_running(name, job), name=name))

    async def stop(self) -> None:
        await _end(self._tasks)
        await self.crashes.close()
        await self._pulses.close()
        try:
            await self.door.ask(self._sign_off, now=time.monotonic())
        except RedisAway:
            log.debug("Redis is away; this gateway's record expires by itself")
        self.emitter.close()
        self.metrics.close()
        if self._ner is not None:
            self._ner.close()
        await self.door.close()

    def _reached(self, worker: WorkerRecord) -> None:
        self.router.reached(worker.id, now=time.monotonic())

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
            breakers=self.router.open_breakers(now=time.monotonic(), at=self.clock())[:MAX_BREAKERS_TOLD],
            unhealthy=self.router.unhealthy(),
        )

    async def _warm_up(self) -> None:
        """The first text to mask takes a tenth of a second, and should be nobody's."""
        everything = PiiPolicy(entities=dict.fromkeys(ENTITIES, "mask"))
        await self.masking.mask("completions", {"prompt": "."}, tenant_id="", policy=everything)
        if self._ner is not None:
            await self._ner.start(NER_START_SECONDS)

    def _known_pools(self) -> list[Pool]:
        return list(self.store.current.pools.values()) if self.store.current is not None else []

    def _state(self) -> State:
        loaded = self.store.loaded_at
        breakers = self.router.open_breakers(now=time.monotonic(), at=self.clock())
        pools = self.pools.ids()
        return State(
            redis_up=self.door.is_open(now=time.monotonic()),
            redis_failures=self.door.failures,
            snapshot_version=self.store.version,
            snapshot_age_seconds=(self.clock() - loaded).total_seconds() if loaded else 0.0,
            spooled_events=self.emitter.spooled,
            in_flight=self.queue.seats_by_pool(),
            waiting={pool: self.queue.waiting(pool).total() for pool in pools},
            undercounts=self.counter.undercounts,
            open_breakers=frozenset((one.worker_id, one.adapter_digest or "") for one in breakers),
        )

    async def _settle_allowance(self, *, every: timedelta) -> None:
        """Until cancelled: count what ran uncounted, once Redis is back."""
        while True:
            await asyncio.sleep(every.total_seconds())
            uncounted = self.outage.take_uncounted()
            if not uncounted:
                continue

            async def settle(client: Redis, uncounted: list[Uncounted] = uncounted) -> None:
                async with client.pipeline(transaction=False) as pipeline:
                    await settle_outage(self.ledger, pipeline, uncounted)
                    await pipeline.execute()

            try:
                await self.door.ask(settle, now=time.monotonic())
            except RedisAway:
                self.outage.put_back(uncounted)

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


async def _end(tasks: Collection["asyncio.Task[None]"]) -> None:
    """A cancellation can get lost on its way through a client library, so it is said again."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=RESTART_SECONDS)


async def keep_running(name: str, job: Callable[[], Awaitable[None]]) -> None:
    """The outermost loop of a background job: a failure is reported and the job starts again."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("background job %s failed; it starts again", name)
        await asyncio.sleep(RESTART_SECONDS)
