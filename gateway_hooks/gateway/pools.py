"""What this process knows of the pools: their capacity now, and what dead gateways left in them."""

import logging
import time
from collections.abc import Iterable, Sequence

import msgspec

from gateway_hooks.contract.usage import GatewayEvent, encode_event
from gateway_hooks.fairness.ask import Capacity, Lost
from gateway_hooks.fairness.capacity import pool_capacity
from gateway_hooks.metering.emitter import Emitter
from gateway_hooks.routing import WorkerTable
from gateway_hooks.snapshot_store import SnapshotStore

log = logging.getLogger("tenantry.gateway")


class KnownPools:
    """Of the snapshot, with the workers last seen."""

    def __init__(self, store: SnapshotStore, workers: WorkerTable) -> None:
        self._store = store
        self._workers = workers

    def ids(self) -> Iterable[str]:
        return tuple(self._store.current.pools) if self._store.current is not None else ()

    def capacity(self, pool_id: str) -> Capacity:
        pool = self._store.current.pools.get(pool_id) if self._store.current is not None else None
        return Capacity(0, 0) if pool is None else pool_capacity(pool, self._workers.workers.values())


class LastWords:
    """Tells of the requests of gateways that died, in their place.

    The event's id is the one that the dead gateway would have used, so what it did say stays the only one.
    """

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    async def tell(self, lost: Sequence[Lost]) -> None:
        for one in lost:
            try:
                event = msgspec.json.decode(one.info, type=GatewayEvent)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                # Of a gateway of another version; the engine's event still says what it used.
                log.warning("a dead gateway's request cannot be told of: %s", type(error).__name__)
                continue
            told = msgspec.structs.replace(event, forwarded=one.seated)
            await self._emitter.emit(encode_event(told), now=time.monotonic())
