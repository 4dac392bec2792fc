"""Usage events on disk while Redis is away: one append-only file per gateway process, fsynced.

A process holds a lock on its folder for as long as it lives, so that a later one can tell a dead
predecessor's folder from a living neighbour's and replay what was left.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

EVENTS = "events.jsonl"
LOCK = "lock"


class Spool:
    """The events of one folder, which this process owns. Raises ``BlockingIOError`` if another does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock: IO[bytes] = (folder / LOCK).open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise
        self._path = folder / EVENTS
        self.count = len(self.read()) if self._path.exists() else 0

    def append(self, events: list[bytes]) -> None:
        """On disk when this returns. Each event is one line of JSON."""
        with self._path.open("ab") as file:
            file.write(b"".join(event + b"\n" for event in events))
            file.flush()
            os.fsync(file.fileno())
        self.count += len(events)

    def read(self) -> list[bytes]:
        """The whole lines; a line cut by a crash was never promised to anybody."""
        if not self._path.exists():
            return []
        raw = self._path.read_bytes()
        return [line for line in raw[: raw.rfind(b"\n") + 1].split(b"\n") if line]

    def clear(self) -> None:
        """Only after every event of ``read`` is in the stream."""
        self._path.unlink(missing_ok=True)
        self.count = 0

    def close(self) -> None:
        """Let go of the folder; what is in it is the next one's to replay."""
        self._lock.close()

    def remove(self) -> None:
        """Give the folder up for ever."""
        self.clear()
        (self._folder / LOCK).unlink(missing_ok=True)
        self._folder.rmdir()
        self._lock.close()


def abandoned(parent: Path, *, own: Path) -> Iterator[Spool]:
    """The spools that dead processes left, each locked by us from now on."""
    for folder in sorted(parent.iterdir()):
        if folder == own or not (folder / LOCK).exists():
            continue
        try:
            yield Spool(folder)
        except BlockingIOError:
            continue
