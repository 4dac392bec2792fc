"""The content-addressed store of adapter artifacts (``contract.artifacts``).

An artifact appears in one step, complete and on disk, or not at all; then it never changes.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from gateway_hooks.contract.artifacts import FILES, artifact_digest, artifact_folder
from portal.adapters.errors import AdapterError

_INCOMING = ".incoming"
ABANDONED_AFTER = timedelta(days=1)


class Store:
    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A new empty folder in the store's file system, where nobody looks; gone afterwards."""
        folder = self._root / _INCOMING / secrets.token_hex(8)
        folder.mkdir(parents=True, mode=0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, staged: Path) -> str:
        """Move the two files of ``staged`` to their final place, and return their digest.

        Does nothing if the store has them already. Raises ``AdapterError`` where what lies there is
        damaged.
        """
        for name in FILES:
            (staged / name).chmod(0o444)
            _sync(staged / name)
        _sync(staged)
        digest = artifact_digest(staged)
        final = artifact_folder(self._root, digest)
        if not final.exists():
            self._move(staged, final)
        if artifact_digest(final) != digest:
            message = f"The artifact {digest[:12]}… in the store is damaged. Move {final} away and try again."
            raise AdapterError(message, code="adapter_store_damaged")
        final.chmod(0o555)
        return digest

    def _move(self, staged: Path, final: Path) -> None:
        try:
            staged.rename(final)
        except OSError:
            if not final.exists():  # else somebody stored the same at the same moment
                raise
        _sync(self._root)

    def sweep(self, now: datetime) -> int:
        """Remove what writers left behind that were killed; returns how many."""
        limit = (now - ABANDONED_AFTER).timestamp()
        folders = [f for f in (self._root / _INCOMING).glob("*") if _changed_before(f, limit)]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return len(folders)


def _changed_before(path: Path, limit: float) -> bool:
    try:
        return path.stat().st_mtime < limit
    except FileNotFoundError:
        return False  # its writer was done while we looked


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
