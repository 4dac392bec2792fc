"""The configuration that this process serves: newest from Redis, else the last good one on disk."""

import asyncio
import logging
import os
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, cast

from redis.exceptions import RedisError

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import (
    HEAD_BYTES,
    Snapshot,
    SnapshotError,
    decode_snapshot,
    version_at_head,
)
from gateway_hooks.redis_door import RedisDoor

log = logging.getLogger("tenantry.gateway.snapshot")

Source = Literal["redis", "disk", "none"]


class SnapshotStore:
    """``current`` is replaced as a whole, so that a request sees one version from start to end."""

    def __init__(self, *, path: Path, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._clock = clock
        self._raw = b""
        self.current: Snapshot | None = None
        self.source: Source = "none"
        self.loaded_at: datetime | None = None
        self.changed = asyncio.Event()

    @property
    def version(self) -> int:
        return self.current.version if self.current else 0

    def load_disk(self) -> None:
        """Serve from the last good snapshot, where there is one. A broken file is left and reported."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return
        try:
            snapshot = decode_snapshot(raw)
        except SnapshotError as error:
            log.error("the snapshot on disk is not usable: %s", error)  # noqa: TRY400 - no trace needed
            return
        self._serve(snapshot, raw, "disk")

    def offer(self, raw: bytes) -> bool:
        """Take what Redis holds if it is newer; True if it is served now.

        Newer is a higher version, or a later publication: after the portal's database was made anew its
        versions start again. An older one is refused, since it could revive a revoked key.
        """
        if raw == self._raw:
            self.source = "redis"
            return False
        try:
            snapshot = decode_snapshot(raw)
        except SnapshotError as error:
            log.error("the snapshot in Redis is not usable: %s", error)  # noqa: TRY400 - no trace needed
            return False
        if self.current is not None and not _newer(snapshot, self.current):
            return False
        self._serve(snapshot, raw, "redis")
        return True

    def save(self) -> None:
        """Keep what is served for the next start."""
        write_atomically(self._path, self._raw)

    def _serve(self, snapshot: Snapshot, raw: bytes, source: Source) -> None:
        self.current, self._raw, self.source = snapshot, raw, source
        self.loaded_at = self._clock()
        self.changed.set()
        log.info("serving snapshot %d from %s", snapshot.version, source)


def _newer(offered: Snapshot, served: Snapshot) -> bool:
    return offered.version > served.version or offered.published_at > served.published_at


def write_atomically(path: Path, raw: bytes) -> None:
    """The file is either the old or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


async def follow(store: SnapshotStore, door: RedisDoor, *, poll: timedelta) -> None:
    """Until cancelled: offer every change to ``store``.

    A notification makes it fast; the poll makes it certain, since a message may be lost. Away, Redis is
    asked again after ``poll``.
    """
    while True:
        try:
            await _follow_once(store, door, poll=poll)
        except (RedisError, OSError) as error:
            log.warning("Redis is away, still serving snapshot %d: %s", store.version, error)
            await asyncio.sleep(poll.total_seconds())


async def _follow_once(store: SnapshotStore, door: RedisDoor, *, poll: timedelta) -> None:
    async with door.client.pubsub() as subscription:
        await subscription.subscribe(keys.SNAPSHOT_CHANGED)
        while True:
            head = cast("bytes", await door.client.getrange(keys.SNAPSHOT, 0, HEAD_BYTES - 1))
            if store.source != "redis" or version_at_head(head) != store.version:
                raw = cast("bytes | None", await door.client.get(keys.SNAPSHOT))
                if raw is not None and store.offer(raw):
                    await asyncio.to_thread(store.save)
            await subscription.get_message(ignore_subscribe_messages=True, timeout=poll.total_seconds())
