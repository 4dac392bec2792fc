"""The workers as they make themselves known in Redis."""

import asyncio
import logging
from datetime import timedelta
from typing import cast

import msgspec
from redis.asyncio import Redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import WorkerRecord, decode_worker
from gateway_hooks.redis_door import RedisAway, RedisDoor
from gateway_hooks.routing.table import WorkerTable

log = logging.getLogger("tenantry.gateway.routing")


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
