"""Which of several workers: where the adapter is, unless that one is full; then the least loaded. Pure."""

from collections.abc import Callable, Iterable, Mapping

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.snapshot import Target

RETRY_SECONDS = 2.0


def best(
    workers: Iterable[WorkerRecord],
    target: Target,
    *,
    in_flight: Mapping[str, int],
    usable: Callable[[WorkerRecord], bool] = lambda _: True,
) -> WorkerRecord | None:
    """None if nobody can. A worker with as many requests as it runs at once (``max_num_seqs``) is full.

    Loading an adapter costs less than a place in an engine's own queue, and more than a busier batch. Ties
    go by id, so that the order of the records does not matter.
    """
    able = [
        worker
        for worker in workers
        if worker.pool_id == target.pool_id and worker.state == "ready" and usable(worker)
    ]

    def rank(worker: WorkerRecord) -> tuple[bool, bool, int, str]:
        load = in_flight.get(worker.id, 0)
        return load >= worker.max_num_seqs, _must_load(worker, target), load, worker.id

    return min(able, key=rank, default=None)


def _must_load(worker: WorkerRecord, target: Target) -> bool:
    return target.adapter_digest is not None and target.adapter_digest not in worker.adapters
