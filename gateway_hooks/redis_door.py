"""The one way to Redis on the request's path: short timeouts, and a pause after a failure.

While Redis is away every caller learns it at once instead of waiting for its own timeout; after
``pause`` the next caller tries again. Failures are counted.
"""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import redis.asyncio as aredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = logging.getLogger("tenantry.gateway.redis")

T = TypeVar("T")

CONNECTIONS = 64


class RedisAway(Exception):  # noqa: N818 - a state of the world that every caller has a policy for
    """Redis cannot be asked now."""

    code = "redis_away"


class RedisDoor:
    """``clock`` is monotonic seconds."""

    def __init__(
        self, url: str, *, timeout: timedelta, pause: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        pool = aredis.BlockingConnectionPool.from_url(
            url,
            # More would only wait in Redis; who finds none free waits here, instead of failing for all.
            max_connections=CONNECTIONS,
            timeout=timeout.total_seconds(),
            socket_timeout=timeout.total_seconds(),
            socket_connect_timeout=timeout.total_seconds(),
            # A retry could run an admission twice, and would wait longer than the request may.
            retry=Retry(NoBackoff(), 0),
        )
        self.client: aredis.Redis = aredis.Redis.from_pool(pool)
        self._pause = pause.total_seconds()
        self._clock = clock
        self._closed_until = 0.0
        self.failures = 0

    async def ask(self, question: Callable[[aredis.Redis], Awaitable[T]], *, now: float) -> T:
        """The answer, or ``RedisAway``. ``now`` is monotonic seconds."""
        if now < self._closed_until:
            raise RedisAway
        asked = self._clock()
        try:
            return await question(self.client)
        except (RedisError, OSError) as error:
            self.failures += 1
            if isinstance(error, RedisConnectionError | RedisTimeoutError | OSError):
                # From the failure on: a Redis that hangs fails only after its timeout, which is as long.
                self._closed_until = now + (self._clock() - asked) + self._pause
                await self._forget_connections()
            log.warning("Redis cannot be asked (%d so far): %s", self.failures, error)
            raise RedisAway from error

    async def _forget_connections(self) -> None:
        """After a restart of Redis each would fail once more, and close the door again."""
        with contextlib.suppress(RedisError, OSError):
            await self.client.connection_pool.disconnect(inuse_connections=False)

    def is_open(self, *, now: float) -> bool:
        """Whether the next caller would ask Redis."""
        return now >= self._closed_until

    async def close(self) -> None:
        await self.client.aclose()
