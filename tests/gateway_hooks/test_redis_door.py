"""While Redis is away nobody waits for it, but one caller per pause."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

from gateway_hooks.redis_door import RedisAway, RedisDoor
from tests.gateway_hooks.processes import OwnRedis

PATIENCE = timedelta(seconds=1)


def test_a_redis_that_hangs_makes_one_of_ten_wait(tmp_path: Path):
    own = OwnRedis(tmp_path)
    own.start()

    async def asked(door: RedisDoor) -> float:
        """Seconds that the answer took, which is that there is none."""
        now = time.monotonic()
        try:
            await door.ask(lambda client: client.ping(), now=now)
        except RedisAway:
            return time.monotonic() - now
        raise AssertionError

    async def story() -> list[float]:
        door = RedisDoor(own.url, timeout=PATIENCE, pause=PATIENCE)
        try:
            assert await door.ask(lambda client: client.ping(), now=time.monotonic())
            own.hang()
            return [await asked(door) for _ in range(10)]
        finally:
            await door.close()

    try:
        took = asyncio.run(story())
    finally:
        own.kill()

    assert took[0] >= PATIENCE.total_seconds() * 0.9
    assert sum(took[1:]) < PATIENCE.total_seconds()
