"""What a pool takes at once, from the records of its ready workers."""

from collections.abc import Iterable

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.snapshot import Pool
from gateway_hooks.fairness.ask import UNBOUNDED, Capacity


def pool_capacity(pool: Pool, workers: Iterable[WorkerRecord]) -> Capacity:
    """The sum over the pool's ready workers; the pool's own bounds come before what they report."""
    ready = [worker for worker in workers if worker.pool_id == pool.id and worker.state == "ready"]
    return Capacity(
        sequences=sum(_first(pool.seqs_in_flight, worker.max_num_seqs) for worker in ready),
        tokens=min(UNBOUNDED, sum(_first(pool.tokens_in_flight, worker.kv_cache_tokens) for worker in ready)),
    )


def _first(*bounds: int | None) -> int:
    return next((bound for bound in bounds if bound is not None), UNBOUNDED)
