"""Alias -> route -> worker: from the snapshot and from the records by which workers make themselves known."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import cast

import msgspec
from redis.asyncio import Redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import WorkerRecord, decode_worker
from gateway_hooks.contract.snapshot import Route, Tenant
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.redis_door import RedisAway, RedisDoor
from gateway_hooks.snapshot_store import write_atomically

log = logging.getLogger("tenantry.gateway.routing")

RETRY_SECONDS = 2.0


def resolve(tenant: Tenant, alias: str) -> Route:
    """Only the tenant's own aliases lead anywhere; every other name is equally unknown."""
    route = tenant.aliases.get(alias)
    if route is None:
        raise GatewayError(Code.MODEL_NOT_FOUND, param="model")
    return route


class WorkerTable:
    """The workers last seen, and how many requests of this process each serves now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._workers: dict[str, WorkerRecord] = {}
        self._in_flight: Counter[str] = Counter()

    def load_disk(self) -> None:
        """Start with the workers of the last run, in case Redis cannot name them."""
        try:
            self.replace(msgspec.json.decode(self._path.read_bytes(), type=list[WorkerRecord]))
        except FileNotFoundError:
            return
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            log.error("the workers on disk are not usable: %s", error)  # noqa: TRY400 - no trace needed

    def save(self) -> None:
        write_atomically(self._path, msgspec.json.encode(list(self._workers.values())))

    def replace(self, workers: Iterable[WorkerRecord]) -> bool:
        """Take a complete list; True if it names others, or says anything else of one that matters."""
        before = _essence(self._workers.values())
        self._workers = {worker.id: worker for worker in workers}
        return _essence(self._workers.values()) != before

    def choose(self, route: Route) -> WorkerRecord:
        """A ready worker of the route's pool: least in flight here, then where the adapter is resident."""
        ready = [
            worker
            for worker in self._workers.values()
            if worker.pool_id == route.pool_id and worker.state == "ready"
        ]
        if not ready:
            raise GatewayError(Code.NO_WORKER, retry_after=RETRY_SECONDS)
        return min(
            ready,
            key=lambda worker: (
                self._in_flight[worker.id],
                route.adapter_digest is not None and route.adapter_digest not in worker.adapters,
                worker.id,
            ),
        )

    def take(self, worker_id: str) -> None:
        self._in_flight[worker_id] += 1

    def give_back(self, worker_id: str) -> None:
        self._in_flight[worker_id] -= 1
        if self._in_flight[worker_id] <= 0:
            del self._in_flight[worker_id]

    @property
    def in_flight(self) -> int:
        return self._in_flight.total()


def _essence(workers: Iterable[WorkerRecord]) -> set[tuple[str, str, str, str]]:
    return {(worker.id, worker.url, worker.pool_id, worker.state) for worker in workers}


async def read_workers(client: Redis) -> list[WorkerRecord]:
    """The records that have not expired; one that does not parse is left out and reported."""
    ids = cast("set[bytes]", await client.smembers(keys.WORKERS))
    if not ids:
        return []
    names = [keys.worker(name.decode()) for name in sorted(ids)]
    records = cast("list[bytes | None]", await client.mget(names))
    workers = []
    for raw in filter(None, records):
        try:
            workers.append(decode_worker(raw))
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            log.error("a worker's record is not usable: %s", error)  # noqa: TRY400 - no trace needed
    return workers


async def follow(table: WorkerTable, door: RedisDoor, *, poll: timedelta) -> None:
    """Until cancelled: keep the table fresh. While Redis is away the last known workers stay."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            workers = await door.ask(read_workers, now=loop.time())
        except RedisAway:
            log.debug("Redis is away, keeping the workers last known")
        else:
            if table.replace(workers):
                await asyncio.to_thread(table.save)
        await asyncio.sleep(poll.total_seconds())
