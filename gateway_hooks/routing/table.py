"""The workers last seen, and how many requests of this process each serves now."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.snapshot_store import write_atomically

log = logging.getLogger("tenantry.gateway.routing")


class WorkerTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._workers: dict[str, WorkerRecord] = {}
        self._in_flight: Counter[str] = Counter()

    def load_disk(self) -> None:
        """Start with the workers of the last run, in case Redis cannot name them."""
        try:
            self.replace(msgspec.json.decode(self._path.read_bytes(), type=list[WorkerRecord]))
        except FileNotFoundError:
            return
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            log.error("the workers on disk are not usable: %s", error)  # noqa: TRY400 - no trace needed

    def save(self) -> None:
        write_atomically(self._path, msgspec.json.encode(list(self._workers.values())))

    def replace(self, workers: Iterable[WorkerRecord]) -> bool:
        """Take a complete list; True if it names others, or says anything else of one that matters."""
        before = _essence(self._workers.values())
        self._workers = {worker.id: worker for worker in workers}
        return _essence(self._workers.values()) != before

    @property
    def workers(self) -> Mapping[str, WorkerRecord]:
        """By id."""
        return self._workers

    @property
    def loads(self) -> Mapping[str, int]:
        """Requests of this process in flight, by worker id."""
        return self._in_flight

    def take(self, worker_id: str) -> None:
        self._in_flight[worker_id] += 1

    def give_back(self, worker_id: str) -> None:
        self._in_flight[worker_id] -= 1
        if self._in_flight[worker_id] <= 0:
            del self._in_flight[worker_id]

    @property
    def in_flight(self) -> int:
        return self._in_flight.total()


def _essence(workers: Iterable[WorkerRecord]) -> set[tuple[str, str, str, str, str]]:
    return {(worker.id, worker.boot_id, worker.url, worker.pool_id, worker.state) for worker in workers}
