"""The tokenizers of a snapshot's pools, loaded off the event loop and kept in step with the files."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gateway_hooks.contract.snapshot import Pool
from gateway_hooks.tokens.errors import TokenizerError
from gateway_hooks.tokens.model import FILES, TOKENIZER, ModelTokenizer, load

log = logging.getLogger("tenantry.gateway.tokens")


class _Stamp(NamedTuple):
    """A folder and when its files were written: the same stamp is the same tokenizer."""

    folder: Path
    written_ns: tuple[int, ...]


class TokenizerStore:
    """``folder`` holds ``<base model or pool name>/tokenizer.json`` for models that lie on another host."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._loaded: dict[_Stamp, ModelTokenizer | None] = {}
        self._by_pool: dict[str, ModelTokenizer] = {}
        self.missing: frozenset[str] = frozenset()

    def get(self, pool_id: str) -> ModelTokenizer | None:
        return self._by_pool.get(pool_id)

    def refresh(self, pools: Iterable[Pool]) -> None:
        """Reads files: not for the event loop. What did not change is not read again."""
        stamps = {pool.id: self._stamp(pool) for pool in pools}
        loaded = {stamp: self._load(stamp) for stamp in set(stamps.values()) if stamp is not None}
        found = {pool_id: loaded[stamp] for pool_id, stamp in stamps.items() if stamp is not None}
        self._loaded = loaded
        self._by_pool = {pool_id: tokenizer for pool_id, tokenizer in found.items() if tokenizer is not None}
        missing = frozenset(stamps.keys() - self._by_pool.keys())
        for pool_id in sorted(missing - self.missing):
            log.warning("pool %s has no tokenizer here: its prompts are reserved by their bytes", pool_id)
        self.missing = missing

    async def follow(self, pools: Callable[[], Iterable[Pool]], *, poll: timedelta) -> None:
        """Until cancelled."""
        while True:
            await asyncio.to_thread(self.refresh, tuple(pools()))
            await asyncio.sleep(poll.total_seconds())

    def _load(self, stamp: _Stamp) -> ModelTokenizer | None:
        if stamp in self._loaded:
            return self._loaded[stamp]
        try:
            return load(stamp.folder)
        except TokenizerError as error:
            log.warning("%s", error)
            return None

    def _stamp(self, pool: Pool) -> _Stamp | None:
        for folder in self._candidates(pool):
            if (folder / TOKENIZER).is_file():
                return _Stamp(folder, tuple(map(_written_ns, (folder / name for name in FILES))))
        return None

    def _candidates(self, pool: Pool) -> Iterable[Path]:
        yield Path(pool.model)
        if self._folder is None:
            return
        for name in (pool.base_model, pool.name):
            relative = PurePosixPath(name)
            # Names come from the console; none of them may lead out of the folder.
            if name and not relative.is_absolute() and ".." not in relative.parts:
                yield self._folder / relative


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
