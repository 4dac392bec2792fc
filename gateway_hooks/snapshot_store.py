"""The configuration that this process serves: newest from Redis, else the last good one on disk."""

import asyncio
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import (
    HEAD_BYTES,
    Snapshot,
    SnapshotError,
    decode_snapshot,
    version_at_head,
)
from gateway_hooks.contract.snapshot_delta import applied, decode_delta
from gateway_hooks.redis_door import RedisDoor

log = logging.getLogger("tenantry.gateway.snapshot")

Source = Literal["redis", "disk", "none"]


class SnapshotStore:
    """``current`` is replaced as a whole, so that a request sees one version from start to end.

    On disk lies the last whole snapshot, and beside it, one per line, the deltas that lead from it to what
    is served.
    """

    def __init__(self, *, path: Path, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._deltas_path = path.with_suffix(".deltas")
        self._clock = clock
        self._unsaved: list[bytes] = []
        self._whole: bytes | None = None
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
            snapshot = decode_snapshot(self._path.read_bytes())
        except FileNotFoundError:
            return
        except SnapshotError as error:
            log.error("the snapshot on disk is not usable: %s", error)  # noqa: TRY400 - no trace needed
            return
        snapshot, _ = _along(snapshot, self._deltas_on_disk())
        self._serve(snapshot, "disk")

    def offer(self, raw: bytes, deltas: Sequence[bytes] = ()) -> bool:
        """Take what Redis holds if it is newer than what is served: a snapshot and what leads on from it.

        Newer is a higher version, or a later publication: after the portal's database was made anew its
        versions start again. An older one is refused, since it could revive a revoked key.
        """
        try:
            snapshot, used = _along(decode_snapshot(raw), deltas)
        except SnapshotError as error:
            log.error("the snapshot in Redis is not usable: %s", error)  # noqa: TRY400 - no trace needed
            return False
        if self.current is not None and not _newer(snapshot, self.current):
            if _moment(snapshot) == _moment(self.current):
                self.source = "redis"
            return False
        self._serve(snapshot, "redis")
        self._whole, self._unsaved = raw, used
        return True

    def offer_deltas(self, deltas: Sequence[bytes]) -> bool:
        """Go on from what is served; True if that changed anything."""
        if self.current is None or self.source != "redis":
            return False
        snapshot, used = _along(self.current, deltas)
        if used:
            self._serve(snapshot, "redis")
            self._unsaved += used
        return bool(used)

    def save(self) -> None:
        """Keep what is served for the next start."""
        whole, deltas = self._whole, self._unsaved
        self._whole, self._unsaved = None, []
        if whole is not None:
            # In this order: deltas without their snapshot would be left out, the other way they fit.
            write_atomically(self._path, whole)
            self._deltas_path.unlink(missing_ok=True)
        if deltas:
            with self._deltas_path.open("ab") as file:
                file.write(b"".join(delta + b"\n" for delta in deltas))
                file.flush()
                os.fsync(file.fileno())

    def is_newest(self, newest: int) -> bool:
        """Whether the version that Redis names as its newest is the one served, and came from there."""
        return self.source == "redis" and newest == self.version

    def _deltas_on_disk(self) -> list[bytes]:
        if not self._deltas_path.exists():
            return []
        return [line for line in self._deltas_path.read_bytes().split(b"\n") if line]

    def _serve(self, snapshot: Snapshot, source: Source) -> None:
        self.current, self.source = snapshot, source
        self.loaded_at = self._clock()
        self.changed.set()
        log.info("serving snapshot %d from %s", snapshot.version, source)


def _along(snapshot: Snapshot, deltas: Sequence[bytes]) -> tuple[Snapshot, list[bytes]]:
    """As far as the deltas lead, and those that did: not one of another line, repeated or torn."""
    used = []
    for raw in deltas:
        try:
            snapshot = applied(snapshot, decode_delta(raw))
        except SnapshotError as error:
            log.debug("a delta is left out: %s", error)
        else:
            used.append(raw)
    return snapshot, used


def _moment(snapshot: Snapshot) -> tuple[int, datetime]:
    return snapshot.version, snapshot.published_at


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
            if await catch_up(store, door.client):
                await asyncio.to_thread(store.save)
            await subscription.get_message(ignore_subscribe_messages=True, timeout=poll.total_seconds())


async def catch_up(store: SnapshotStore, client: Redis) -> bool:
    """Bring ``store`` to what Redis holds, by deltas where they lead there; True if it serves another now."""
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.get(keys.SNAPSHOT_NEWEST)
        pipeline.getrange(keys.SNAPSHOT, 0, HEAD_BYTES - 1)
        pipeline.zrangebyscore(keys.SNAPSHOT_DELTAS, f"({store.version}", "+inf")
        named, head, deltas = await pipeline.execute()
    newest = int(named) if named is not None else version_at_head(head)
    if newest is None or store.is_newest(newest):
        return False
    changed = store.offer_deltas(deltas)
    if store.is_newest(newest):
        return changed
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.get(keys.SNAPSHOT)
        pipeline.zrange(keys.SNAPSHOT_DELTAS, 0, -1)
        raw, deltas = await pipeline.execute()
    return (raw is not None and store.offer(raw, deltas)) or changed
