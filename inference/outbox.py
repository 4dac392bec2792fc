"""Append-only JSON lines on disk, in numbered segments, one folder per boot. Files only, no clock.

A line counts once its newline is there; what follows the last newline is a line torn by a crash. One
process appends (``Outbox``), another reads and removes (``inference.shipper``); they share nothing but
these files.
"""

import logging
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

log = logging.getLogger(__name__)

SEGMENT_BYTES = 4 << 20
WARN_AT = 0.5
SUFFIX = ".jsonl"


def segments(folder: Path) -> list[Path]:
    """The segments of one boot, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def stored_bytes(root: Path) -> int:
    """Bytes in all segments of all boots below ``root``."""
    total = 0
    for path in root.glob(f"*/*{SUFFIX}"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # shipped and removed while we looked
    return total


class Outbox:
    """The writing end. Bounded: beyond ``max_bytes`` of unshipped lines it drops, and says so loudly."""

    def __init__(self, folder: Path, *, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._stored = stored_bytes(folder.parent)
        self._warned = False
        self.dropped = 0
        newest = segments(folder)[-1:]
        self._number = int(newest[0].stem) if newest else 0
        self._file: FileIO | None = None
        self._size = 0

    def append(self, lines: Sequence[bytes]) -> None:
        """Write the lines and return when they are on disk. ``lines`` hold no newline."""
        accepted = self._within_bound(lines)
        if not accepted:
            return
        if self._file is None or self._size >= self._segment_bytes:
            self._next_segment()
        assert self._file is not None  # noqa: S101 - _next_segment opened it
        batch = b"".join(line + b"\n" for line in accepted)
        _write_all(self._file, batch)
        os.fsync(self._file.fileno())
        self._size += len(batch)
        self._stored += len(batch)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next_segment(self) -> None:
        self.close()
        self._number += 1
        # A segment is never reopened: a torn line can only be the last of its file.
        self._file = (self._folder / f"{self._number:08d}{SUFFIX}").open("xb", buffering=0)
        self._size = 0
        directory = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _within_bound(self, lines: Sequence[bytes]) -> Sequence[bytes]:
        wanted = sum(len(line) + 1 for line in lines)
        if self._stored + wanted > self._max_bytes * WARN_AT:
            # What was shipped meanwhile is gone: count again before crying.
            self._stored = stored_bytes(self._folder.parent)
        if self._stored + wanted > self._max_bytes:
            self.dropped += len(lines)
            log.critical(
                "outbox is full (%d of %d bytes): %d usage events LOST so far; is Redis away?",
                self._stored,
                self._max_bytes,
                self.dropped,
            )
            return ()
        over = self._stored + wanted > self._max_bytes * WARN_AT
        if over and not self._warned:
            log.error("outbox holds %d of %d bytes unshipped; is Redis away?", self._stored, self._max_bytes)
        self._warned = over
        return lines


def _write_all(file: FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
