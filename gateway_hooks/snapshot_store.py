"""The configuration that this process serves: newest from Redis, else the last good one on disk."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    encode_snapshot,
)
from gateway_hooks.contract.snapshot_delta import followed
from gateway_hooks.contract.snapshot_mark import Mark, held_mark, mark_of
from gateway_hooks.redis_door import RedisDoor
from gateway_hooks.snapshot_disk import SnapshotDisk, write_atomically

__all__ = ["SnapshotStore", "catch_up", "follow", "write_atomically"]

log = logging.getLogger("tenantry.gateway.snapshot")

Source = Literal["redis", "disk", "none"]


MAX_DELTAS = 100
"""After so many deltas on disk the whole is written anew, so that a start has little to follow."""


class SnapshotStore:
    """``current`` is replaced as a whole, so that a request sees one version from start to end."""

    def __init__(self, *, path: Path, clock: Callable[[], datetime]) -> None:
        self._disk = SnapshotDisk(path)
        self._clock = clock
        self._unsaved = _Unsaved()
        self._appended = 0
        self.current: Snapshot | None = None
        self.source: Source = "none"
        self.loaded_at: datetime | None = None
        self.changed = asyncio.Event()

    @property
    def version(self) -> int:
        return self.current.version if self.current else 0

    @property
    def is_saved(self) -> bool:
        return self._unsaved == _Unsaved()

    def load_disk(self) -> None:
        """Serve from the last good snapshot, where there is one. A broken file is left and reported."""
        try:
            snapshot = self._disk.load()
        except SnapshotError as error:
            log.error("the snapshot on disk is not usable: %s", error)  # noqa: TRY400 - no trace needed
            return
        if snapshot is not None:
            self._serve(snapshot, "disk")

    def offer(self, raw: bytes, deltas: Sequence[bytes] = ()) -> bool:
        """Take what Redis holds if it is newer than what is served: a snapshot and what leads on from it.

        Newer is a higher version, or a later publication: after the portal's database was made anew its
        versions start again. An older one is refused, since it could revive a revoked key.
        """
        try:
            snapshot, used = followed(decode_snapshot(raw), deltas)
        except SnapshotError as error:
            log.error("the snapshot in Redis is not usable: %s", error)  # noqa: TRY400 - no trace needed
            return False
        if self.current is not None and not _newer(snapshot, self.current):
            if mark_of(snapshot) == mark_of(self.current):
                self.source = "redis"
            return False
        self._serve(snapshot, "redis")
        self._unsaved = _Unsaved(anew=True, whole=raw, deltas=tuple(used))
        return True

    def offer_deltas(self, deltas: Sequence[bytes]) -> bool:
        """Go on from what is served; True if that changed anything."""
        if self.current is None or self.source != "redis":
            return False
        snapshot, used = followed(self.current, deltas)
        if used:
            self._serve(snapshot, "redis")
            self._unsaved = self._unsaved.and_(used)
        return bool(used)

    def save(self) -> None:
        """Keep what is served for the next start. Raises ``OSError``; then the next call writes all anew."""
        unsaved, current = self._unsaved, self.current
        if current is None or self.is_saved:
            return
        self._unsaved = _Unsaved(anew=True)  # until it is known to be written
        appended = self._appended + len(unsaved.deltas)
        if unsaved.whole is not None:
            self._disk.replace(current, unsaved.whole, unsaved.deltas)
            appended = len(unsaved.deltas)
        elif unsaved.anew or appended >= MAX_DELTAS:
            self._disk.replace(current, encode_snapshot(current), ())
            appended = 0
        else:
            self._disk.append(unsaved.deltas)
        self._unsaved, self._appended = _Unsaved(), appended

    def is_newest(self, newest: Mark) -> bool:
        """Whether what Redis names as its newest is the one served, and came from there."""
        if self.current is None or self.source != "redis":
            return False
        served = mark_of(self.current)
        return newest == (served if newest.published_at else Mark(served.version, None))

    def _serve(self, snapshot: Snapshot, source: Source) -> None:
        self.current, self.source = snapshot, source
        self.loaded_at = self._clock()
        self.changed.set()
        log.info("serving snapshot %d from %s", snapshot.version, source)


@dataclass(frozen=True)
class _Unsaved:
    """``anew``: the files are to be written from the start, from ``whole`` or else from what is served."""

    anew: bool = False
    whole: bytes | None = None
    deltas: tuple[bytes, ...] = ()

    def and_(self, deltas: Sequence[bytes]) -> "_Unsaved":
        return replace(self, deltas=(*self.deltas, *deltas))


def _newer(offered: Snapshot, served: Snapshot) -> bool:
    return offered.version > served.version or offered.published_at > served.published_at


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
            await catch_up(store, door.client)
            await _save(store)
            await subscription.get_message(ignore_subscribe_messages=True, timeout=poll.total_seconds())


async def _save(store: SnapshotStore) -> None:
    """A full disk must not keep a gateway from following; what is missing is written at the next turn."""
    if store.is_saved:
        return
    try:
        await asyncio.to_thread(store.save)
    except OSError as error:
        log.error("snapshot %d cannot be saved: %s", store.version, error)  # noqa: TRY400 - no trace needed


async def catch_up(store: SnapshotStore, client: Redis) -> bool:
    """Bring ``store`` to what Redis holds, by deltas where they lead there; True if it serves another now."""
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.get(keys.SNAPSHOT_NEWEST)
        pipeline.getrange(keys.SNAPSHOT, 0, HEAD_BYTES - 1)
        pipeline.zrangebyscore(keys.SNAPSHOT_DELTAS, f"({store.version}", "+inf")
        named, head, deltas = await pipeline.execute()
    newest = held_mark(named, head)
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
