"""The choice of a worker with all that is known here of its health, and what the tries teach."""

from collections.abc import Container, Sequence
from datetime import datetime, timedelta

from gateway_hooks.contract.fleet import OpenBreaker, WorkerRecord
from gateway_hooks.contract.snapshot import Target
from gateway_hooks.routing.breaker import CONNECTIONS, REQUESTS, Breakers, Pair, Verdict
from gateway_hooks.routing.choice import best
from gateway_hooks.routing.course import Ending
from gateway_hooks.routing.health import Health
from gateway_hooks.routing.table import WorkerTable

_AT_THE_PAIR: dict[Ending, Verdict] = {
    "answered": "success",
    "adapter": "failure",
    "failed": "failure",
    "broken": "failure",
}
_AT_THE_WORKER: dict[Ending, Verdict] = {
    "unreachable": "failure",
    "local": "neutral",
    "given_up": "neutral",
}


class Router:
    """``now`` is monotonic seconds everywhere."""

    def __init__(self, table: WorkerTable, health: Health) -> None:
        self._table = table
        self._health = health
        self._pairs = Breakers(REQUESTS)
        self._ways = Breakers(CONNECTIONS)

    def place(
        self, target: Target, *, tenant_id: str, now: float, avoid: Container[str] = ()
    ) -> WorkerRecord | None:
        """The best ready, healthy worker whose breakers let this request pass, or None."""

        def usable(worker: WorkerRecord) -> bool:
            return (
                worker.id not in avoid
                and self._health.is_healthy(worker)
                and self._ways.admits(Pair(worker.id), now)
                and self._pairs.admits(Pair(worker.id, target.adapter_digest, tenant_id), now)
            )

        return best(self._table.workers.values(), target, in_flight=self._table.loads, usable=usable)

    def can_serve(self, targets: Sequence[Target], *, tenant_id: str, now: float) -> bool:
        return any(self.place(target, tenant_id=tenant_id, now=now) is not None for target in targets)

    def begin(self, worker_id: str, target: Target, *, tenant_id: str, now: float) -> None:
        """A try starts: counted as load, and as the one probe of a breaker that is half open."""
        self._table.take(worker_id)
        self._ways.begin(Pair(worker_id), now)
        self._pairs.begin(Pair(worker_id, target.adapter_digest, tenant_id), now)

    def give_back(self, worker_id: str) -> None:
        """The load of one try."""
        self._table.give_back(worker_id)

    def learn(self, worker_id: str, target: Target, ending: Ending, *, tenant_id: str, now: float) -> None:
        """What the end of a try says of the worker, and of its adapter there."""
        self._ways.end(Pair(worker_id), _AT_THE_WORKER.get(ending, "success"), now)
        pair = Pair(worker_id, target.adapter_digest, tenant_id)
        self._pairs.end(pair, _AT_THE_PAIR.get(ending, "neutral"), now)

    def reached(self, worker_id: str, *, now: float) -> None:
        """A health check got through: a way that is half open needs no request to prove it."""
        self._ways.end(Pair(worker_id), "success", now)

    def open_breakers(self, *, now: float, at: datetime) -> tuple[OpenBreaker, ...]:
        """All that are not closed; ``at`` is the wall clock's now."""
        return tuple(
            OpenBreaker(
                worker_id=pair.worker_id,
                adapter_digest=pair.adapter_digest,
                tenant_id=pair.tenant_id,
                half_open=state == "half_open",
                since=at - timedelta(seconds=open_for),
            )
            for breakers in (self._ways, self._pairs)
            for pair, state, open_for in breakers.not_closed(now)
        )

    def unhealthy(self) -> tuple[str, ...]:
        """Ids of the workers that do not answer their health checks."""
        workers = self._table.workers.values()
        return tuple(
            worker.id for worker in workers if worker.state == "ready" and not self._health.is_healthy(worker)
        )
