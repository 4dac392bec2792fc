"""The last good configuration on disk, for a start while Redis is away.

A whole snapshot, and beside it, one per line, the deltas that lead on from there. All gateway processes of a
host share the files and each writes what it serves: repeated deltas do no harm, and none replaces what
another has brought further.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway_hooks.contract.snapshot import (
    HEAD_BYTES,
    Snapshot,
    SnapshotError,
    decode_snapshot,
    version_at_head,
)
from gateway_hooks.contract.snapshot_delta import followed


class SnapshotDisk:
    """All methods block: call them outside the loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._deltas_path = path.with_suffix(".deltas")

    def load(self) -> Snapshot | None:
        """None where there is none. Raises ``SnapshotError`` for a broken one."""
        try:
            whole = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return followed(decode_snapshot(whole), self._deltas()).snapshot

    def replace(self, served: Snapshot, whole: bytes, deltas: Sequence[bytes]) -> None:
        """Write anew: ``whole``, from which ``deltas`` lead to ``served``. Raises ``OSError``."""
        with self._alone():
            if self._is_ahead_of(served):
                return
            # In this order: deltas without their snapshot would be left out, the other way they fit.
            write_atomically(self._path, whole)
            self._deltas_path.unlink(missing_ok=True)
            self._append(deltas)

    def append(self, deltas: Sequence[bytes]) -> None:
        """Raises ``OSError``."""
        with self._alone():
            self._append(deltas)

    def _append(self, deltas: Sequence[bytes]) -> None:
        if not deltas:
            return
        with self._deltas_path.open("ab") as file:
            # A line that a power cut tore must not spoil the next one.
            file.write(b"".join(b"\n" + delta + b"\n" for delta in deltas))
            file.flush()
            os.fsync(file.fileno())

    def _deltas(self) -> list[bytes]:
        if not self._deltas_path.exists():
            return []
        return [line for line in self._deltas_path.read_bytes().split(b"\n") if line]

    def _is_ahead_of(self, served: Snapshot) -> bool:
        """Whether another process has brought the files further. Decodes them only if they say so."""
        if not any((version_at_head(head) or 0) > served.version for head in self._heads()):
            return False
        try:
            kept = self.load()
        except SnapshotError:
            return False
        return (
            kept is not None
            and kept.version > served.version
            # Otherwise the portal's versions began again.
            and kept.published_at > served.published_at
        )

    def _heads(self) -> Iterator[bytes]:
        if self._path.exists():
            with self._path.open("rb") as file:
                yield file.read(HEAD_BYTES)
        yield from self._deltas()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The only writer among the host's processes."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def write_atomically(path: Path, raw: bytes) -> None:
    """The file is either the old or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
