"""The values of all gateway processes of a host, in files that any of them can add up.

prometheus_client keeps a process' values in memory-mapped files named after the process. Here the name is
the gateway's id, and a lock held for life tells the living from the dead: process numbers repeat, in
containers at every start. What a dead process counted is folded into one file and stays; its gauges go.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from prometheus_client import CollectorRegistry, Metric, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

PREFIX = "tenantry_gateway"
DEAD = "dead"
_LOCK = ".lock"
_DATABASE = ".db"
_FOLDED = ("counter", "histogram")
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


# These have no types.
_values: Any = values
_Database: Any = MmapedDict
_All: Any = MultiProcessCollector


class _OurMetrics(Collector):
    """What some library counts beside us lies in the same files; its labels are not for anybody."""

    def __init__(self, folder: Path) -> None:
        self._all = _All(None, path=str(folder))

    def collect(self) -> Iterable[Metric]:
        return [metric for metric in self._all.collect() if metric.name.startswith(PREFIX)]


class ValueFiles:
    """This process' share of ``folder``: one per process. Metrics made afterwards keep their values there."""

    def __init__(self, folder: Path, *, process_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        # The collector splits file names at underscores.
        name = process_id.replace("_", "-")
        with self._alone():
            self._alive: IO[bytes] = (folder / f"{name}{_LOCK}").open("wb")
            fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Both are read when a metric gets its first value, wherever prometheus_client was imported before.
        self._before = _values.ValueClass
        os.environ[_VARIABLE] = str(folder)
        _values.ValueClass = _values.MultiProcessValue(lambda: name)

    def render(self) -> bytes:
        """The text format, summed over the living and the dead. Reads files: not for the event loop."""
        with self._alone():
            self._fold_dead()
            registry = CollectorRegistry()
            registry.register(_OurMetrics(self._folder))
            return generate_latest(registry)

    def close(self) -> None:
        """What was counted stays, for the next process to fold."""
        _values.close_all_multiprocess_files()
        _values.ValueClass = self._before
        os.environ.pop(_VARIABLE, None)
        self._alive.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._folder / "folding").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _fold_dead(self) -> None:
        for path in sorted(self._folder.glob(f"*{_LOCK}")):
            with path.open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                self._fold(path.name.removesuffix(_LOCK))
                path.unlink()

    def _fold(self, name: str) -> None:
        for kind in _FOLDED:
            path = self._folder / f"{kind}_{name}{_DATABASE}"
            if path.exists():
                _add(path, to=self._folder / f"{kind}_{DEAD}{_DATABASE}")
                path.unlink()
        for path in self._folder.glob(f"gauge_*_{name}{_DATABASE}"):
            path.unlink()


def _add(path: Path, *, to: Path) -> None:
    total = _Database(str(to))
    try:
        for key, value, _, _ in _Database.read_all_values_from_file(str(path)):
            known, _ = total.read_value(key)
            total.write_value(key, known + value, 0.0)
    finally:
        total.close()
