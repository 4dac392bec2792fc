"""Where a request goes next after a try that failed before the client got a byte. Pure.

At most ``MAX_TRIES``. Another worker each time; the version before, where the adapter is what fails. What
may have crashed a worker is given to one more at most.
"""

from collections.abc import Callable, Container
from typing import Literal, NamedTuple

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.snapshot import Target

Ending = Literal[
    "answered", "refused", "adapter", "failed", "busy", "broken", "unreachable", "local", "given_up"
]
"""How a try ended: ``refused`` for what the request says; ``adapter`` not there or not loadable; ``failed``
with a worker's own error; ``busy``; ``broken`` after it was sent; ``unreachable`` before; ``local`` in this
process; ``given_up`` by the client or by the tenant's time limit."""

MAX_TRIES = 3
MAX_BROKEN = 2
PAUSE_SECONDS = 0.2
"""Before the only worker there is gets a second try: it never connected, so it may be starting."""

_RETRIED = frozenset({"adapter", "failed", "busy", "broken", "unreachable"})
_OF_THE_ADAPTER = frozenset({"adapter", "failed"})
_NOT_FOR_FALLBACK = frozenset({"broken"})

Place = Callable[[Target, Container[str]], WorkerRecord | None]
"""The best worker for a target, without those named."""


class Step(NamedTuple):
    target: Target
    worker: WorkerRecord
    degraded: bool
    pause: float = 0.0


class Try(NamedTuple):
    worker_id: str
    ending: Ending


class Course:
    """Of one request. ``fallback`` serves when ``target`` cannot."""

    def __init__(self, target: Target, fallback: Target | None, *, max_tries: int = MAX_TRIES) -> None:
        self._target = target
        self._fallback = fallback
        self._max_tries = max_tries
        self._tries: list[Try] = []
        self._degraded = False

    def ended(self, worker_id: str, ending: Ending) -> None:
        self._tries.append(Try(worker_id, ending))

    def next(self, place: Place) -> Step | None:
        """None: there is nothing left to try."""
        if not self._goes_on():
            return None
        return self._elsewhere(place) or self._fall_back(place) or self._again(place)

    def _goes_on(self) -> bool:
        endings = [one.ending for one in self._tries]
        if len(endings) >= self._max_tries or endings.count("broken") >= MAX_BROKEN:
            return False
        return not endings or endings[-1] in _RETRIED

    def _elsewhere(self, place: Place) -> Step | None:
        if self._saves_the_last():
            return None
        worker = place(self._target, self._tried())
        return Step(self._target, worker, self._degraded) if worker else None

    def _saves_the_last(self) -> bool:
        """Two workers could not serve the adapter: the last try belongs to the fallback."""
        return (
            self._fallback is not None
            and not self._degraded
            and len(self._tries) == self._max_tries - 1 > 0
            and self._tries[-1].ending in _OF_THE_ADAPTER
        )

    def _fall_back(self, place: Place) -> Step | None:
        last = self._tries[-1].ending if self._tries else None
        if self._fallback is None or self._degraded or last in _NOT_FOR_FALLBACK:
            return None
        # Where only the adapter failed, the same worker may well serve another one.
        worker = place(self._fallback, self._tried(but=_OF_THE_ADAPTER))
        if worker is None:
            return None
        self._target, self._degraded = self._fallback, True
        return Step(self._target, worker, degraded=True)

    def _again(self, place: Place) -> Step | None:
        if [one.ending for one in self._tries] != ["unreachable"]:
            return None
        worker = place(self._target, ())
        return Step(self._target, worker, self._degraded, PAUSE_SECONDS) if worker else None

    def _tried(self, *, but: Container[str] = ()) -> frozenset[str]:
        return frozenset(one.worker_id for one in self._tries if one.ending not in but)
