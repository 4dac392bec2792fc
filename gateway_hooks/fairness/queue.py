"""Waiting for a seat in a pool, in one process; all processes share the queue in Redis."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from typing import Protocol

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from gateway_hooks.contract import pool_keys
from gateway_hooks.fairness.ask import Capacity, Entered, Lost, Seat, SeatAsk
from gateway_hooks.fairness.errors import QueueFull, QueueTimeout
from gateway_hooks.fairness.ledger import PoolLedger
from gateway_hooks.fairness.roll import Roll, Waiter
from gateway_hooks.fairness.waits import RecentWaits

log = logging.getLogger("tenantry.gateway.fairness")

BEAT = timedelta(seconds=1)
BEAT_TTL = timedelta(seconds=5)
POLL = timedelta(milliseconds=200)
_MESSAGE_SECONDS = 1.0


class Pools(Protocol):
    """What this process knows of the pools, now."""

    def ids(self) -> Iterable[str]: ...
    def capacity(self, pool_id: str) -> Capacity: ...


class FairQueue:
    """``enter``, then ``finish_commands`` once per seat; ``run`` beside them all the time.

    Redis errors of ``enter`` pass through to the caller's door; whatever they leave behind in Redis is
    found by ``run`` and given back. ``reaped`` is told what dead gateways had, each request once over all
    gateways. Nothing here is told twice: should ``reaped`` fail, it is gone.
    """

    def __init__(
        self,
        client: Redis,
        *,
        gateway_id: str,
        pools: Pools,
        reaped: Callable[[Sequence[Lost]], Awaitable[None]],
        beat: timedelta = BEAT,
        beat_ttl: timedelta = BEAT_TTL,
        poll: timedelta = POLL,
    ) -> None:
        self._client = client
        self._channel = pool_keys.grants(gateway_id)
        self._pools = pools
        self._reaped = reaped
        self._beat_seconds = beat.total_seconds()
        self._poll_seconds = poll.total_seconds()
        beat_ms = round(beat_ttl.total_seconds() * 1000)
        self._ledger = PoolLedger(client, gateway_id=gateway_id, beat_ms=beat_ms)
        self._roll = Roll()
        self._waits = RecentWaits()
        self._leaving: set[asyncio.Task[None]] = set()

    async def enter(self, ask: SeatAsk) -> Seat:
        """A seat at once, or within the wait budget. Raises ``QueueFull`` or ``QueueTimeout``.

        Cancelled at whatever moment, it leaves neither a place nor a seat behind.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        waiter = Waiter(ask, loop.create_future())
        # Known before it is asked for: the message of its grant may overtake the answer.
        self._roll.waiters[ask.request_id] = waiter
        self._roll.touch(ask.pool_id)
        entering = asyncio.create_task(self._ledger.enter(ask, self._pools.capacity(ask.pool_id)))
        try:
            # Shielded: a cancelled command may still run in Redis, after the one that takes it back.
            entered = await asyncio.shield(entering)
            self._roll.notice(entered.granted)
            waited = await self._seated(waiter, entered, started=started)
        except RedisError:
            self._roll.waiters.pop(ask.request_id, None)
            raise
        except BaseException:
            await self._leave(waiter, entering)
            raise
        self._roll.sit(waiter)
        return Seat(ask=ask, waited_us=waited)

    async def _seated(self, waiter: Waiter, entered: Entered, *, started: float) -> int:
        """Microseconds waited, once there is a seat."""
        ask, loop = waiter.ask, asyncio.get_running_loop()
        if entered.status == "granted":
            return 0
        if entered.status == "queue_full":
            raise QueueFull(retry_after=self._waits.retry_after(ask.pool_id))
        waiter.entered = True
        budget = started + ask.wait_ms / 1000 - loop.time()
        done, _ = await asyncio.wait({waiter.seated}, timeout=max(0.0, budget))
        waited = loop.time() - started
        self._waits.note(ask.pool_id, waited)
        if not done or not waiter.seated.result():
            raise QueueTimeout(retry_after=self._waits.retry_after(ask.pool_id))
        return round(waited * 1_000_000)

    async def _leave(self, waiter: Waiter, entering: asyncio.Task[Entered]) -> None:
        """In a task of its own, which a second cancellation does not end."""
        task = asyncio.create_task(self._take_back(waiter, entering))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        await asyncio.shield(task)

    async def _take_back(self, waiter: Waiter, entering: asyncio.Task[Entered]) -> None:
        ask = waiter.ask
        try:
            entered = await entering
            if entered.status != "queue_full":
                left = await self._ledger.leave(
                    ask.pool_id, ask.request_id, self._pools.capacity(ask.pool_id)
                )
                self._roll.notice(left.granted)
        except RedisError as error:
            log.warning("a place in the queue is given back later: %s", error)
        finally:
            self._roll.waiters.pop(ask.request_id, None)

    def end(self, seat: Seat, actual_tokens: int | None) -> None:
        """This process has the seat no more; where Redis cannot be told, a heartbeat tells it."""
        self._roll.end(seat.ask.request_id, seat.ask.pool_id, actual_tokens)

    def finish_commands(self, pipeline: Pipeline, seat: Seat, actual_tokens: int | None) -> None:
        """Queue the end of a seat on the caller's pipeline; None where nobody knows what was used.

        A pipeline that is never run costs the seat no more than two heartbeats.
        """
        ask = seat.ask
        self.end(seat, actual_tokens)
        self._ledger.queue_finish(
            pipeline,
            ask.pool_id,
            ask.request_id,
            self._pools.capacity(ask.pool_id),
            actual=actual_tokens,
        )

    def waiting(self, pool_id: str) -> Counter[str]:
        """This process's waiting requests by tenant."""
        return self._roll.waiting_by_tenant(pool_id)

    def seats_by_pool(self) -> Counter[str]:
        """How many seats this process holds, by pool."""
        return Counter(self._roll.seats.values())

    @property
    def seats(self) -> int:
        """How many seats this process holds."""
        return len(self._roll.seats)

    async def run(self) -> None:
        """Until cancelled: heartbeats, dead gateways, messages, and a look at whether one was lost."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._beat, every=self._beat_seconds))
            # Apart from the heartbeat: telling of the dead may take long, and must not kill the living.
            group.create_task(self._repeat(self._reap, every=self._beat_seconds))
            group.create_task(self._repeat(self._poll, every=self._poll_seconds))
            group.create_task(self._repeat(self._listen, every=self._beat_seconds))

    async def _repeat(self, job: Callable[[], Awaitable[None]], *, every: float) -> None:
        while not _cancelled():
            try:
                await job()
            except RedisError as error:
                log.warning("the queue's %s failed, again in %s s: %s", job.__name__, every, error)
            if not _cancelled():
                await asyncio.sleep(every)

    async def _beat(self) -> None:
        for pool_id in self._roll.pools:
            owned = await self._ledger.beat(pool_id)
            for request_id in self._roll.compare(pool_id, owned):
                await self._tidy(pool_id, request_id)

    async def _reap(self) -> None:
        for pool_id in self._pools.ids():
            lost, granted = await self._ledger.reap(pool_id, self._pools.capacity(pool_id))
            self._roll.notice(granted)
            if lost:
                log.warning("took back %d requests of dead gateways", len(lost))
                await self._reaped(lost)

    async def _tidy(self, pool_id: str, request_id: str) -> None:
        """Give back what this process no longer has but Redis still counts."""
        capacity = self._pools.capacity(pool_id)
        ended, actual = self._roll.actual(request_id)
        if ended:
            done = await self._ledger.finish(pool_id, request_id, capacity, actual=actual)
        else:
            done = await self._ledger.leave(pool_id, request_id, capacity)
        self._roll.notice(done.granted)

    async def _poll(self) -> None:
        """A message may be lost, and a pool may have grown without anybody finishing."""
        for pool_id in self._roll.pools:
            waiters = self._roll.waiting(pool_id)
            if not waiters:
                continue
            ids = [one.ask.request_id for one in waiters]
            places, granted = await self._ledger.poll(pool_id, self._pools.capacity(pool_id), ids)
            for waiter, place in zip(waiters, places, strict=True):
                waiter.decide(place)
            self._roll.notice(granted)

    async def _listen(self) -> None:
        async with self._client.pubsub() as listener:
            await listener.subscribe(self._channel)
            while not _cancelled():
                message = await listener.get_message(ignore_subscribe_messages=True, timeout=_MESSAGE_SECONDS)
                if message is not None:
                    self._roll.notice([message["data"].decode()])


def _cancelled() -> bool:
    """Whether this task is to end: Python 3.11's ``wait_for``, under redis-py, may swallow the exception."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
