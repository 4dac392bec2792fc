"""Which pool this worker serves: from the snapshot in Redis, or the last good one on disk."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Pool, Snapshot, SnapshotError, decode_snapshot
from inference.boot import write_atomically
from inference.errors import InferenceError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
PROGRESS_SECONDS = 10.0
PATIENCE_WITH_LAST_GOOD_SECONDS = 5.0


class PoolError(InferenceError):
    """No snapshot names the pool, and none did before."""

    code = "pool_unknown"


def find_pool(snapshot: Snapshot, name: str) -> Pool | None:
    """The pool by name or by id."""
    return next((pool for pool in snapshot.pools.values() if name in (pool.name, pool.id)), None)


def await_pool(
    client: "redis.Redis",
    name: str,
    *,
    last_good: Path,
    limit: timedelta,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> Pool:
    """The pool as soon as a snapshot names it; kept at ``last_good`` for a start without Redis.

    Raises ``PoolError`` after ``limit``, or when ``stop`` is set.
    """
    started = clock()
    next_word = started
    while True:
        pool, why = _look(client, name)
        if pool is not None:
            write_atomically(last_good, msgspec.json.encode(pool))
            return pool
        waited = clock() - started
        if waited >= PATIENCE_WITH_LAST_GOOD_SECONDS and (kept := _read_kept(last_good, name)):
            log.warning("%s: serving pool %s as it was last known", why, name)
            return kept
        if waited >= limit.total_seconds():
            message = f"no pool {name!r} after {waited:.0f} s: {why}"
            raise PoolError(message)
        if clock() >= next_word:
            log.info("waiting for pool %s: %s", name, why)
            next_word += PROGRESS_SECONDS
        if stop.wait(POLL_SECONDS):
            message = "stopped while waiting for the pool"
            raise PoolError(message, code="stopped")


def _look(client: "redis.Redis", name: str) -> tuple[Pool | None, str]:
    """(the pool, or why there is none)."""
    try:
        raw = client.get(keys.SNAPSHOT)
    except redis.RedisError as error:
        return None, f"Redis does not answer ({type(error).__name__})"
    if raw is None:
        return None, "nothing is published yet"
    assert isinstance(raw, bytes)  # noqa: S101 - the client does not decode
    try:
        pool = find_pool(decode_snapshot(raw), name)
    except SnapshotError as error:
        return None, str(error)
    return pool, "the snapshot names no such pool"


def _read_kept(path: Path, name: str) -> Pool | None:
    try:
        pool = msgspec.json.decode(path.read_bytes(), type=Pool)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return pool if name in (pool.name, pool.id) else None
