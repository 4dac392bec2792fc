"""What must hold while a worker serves: vLLM runs and answers, and usage events are being shipped."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from inference.errors import InferenceError
from inference.probe import Probe
from inference.process import EngineProcess
from inference.shipping import Shipping

MISSES = 3


class VitalsError(InferenceError):
    """The worker must end, so that whoever supervises it starts it again."""

    code = "worker_failed"


@dataclass
class Pulse:
    """Pure; seconds of one monotonic clock.

    Lost after ``MISSES`` unanswered questions in a row and ``patience`` seconds without an answer: both,
    because a refused connection fails at once, and because a machine that slept must ask again.
    """

    patience: float
    heard_at: float
    misses: int = 0

    def note(self, *, answered: bool, now: float) -> None:
        if answered:
            self.heard_at, self.misses = now, 0
        else:
            self.misses += 1

    def lost(self, now: float) -> bool:
        return self.misses >= MISSES and now - self.heard_at >= self.patience


class Vitals:
    """``patience`` is how many seconds vLLM may be silent."""

    def __init__(
        self,
        engine: EngineProcess,
        shipping: Shipping,
        probe: Probe,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._shipping = shipping
        self._probe = probe
        self._patience = patience
        self._clock = clock
        self._pulse: Pulse | None = None

    def check(self) -> None:
        """Raises ``VitalsError`` when vLLM or the shipper ended. Never waits."""
        status = self._engine.exit_status()
        if status is not None:
            message = f"vLLM ended with status {status}"
            raise VitalsError(message)
        if not self._shipping.alive:
            message = "the shipper of usage events ended; what it held waits on disk"
            raise VitalsError(message, code="shipper_died")

    def ask(self) -> bool:
        """Ask a vLLM that was ready how it is. Waits for the probe; raises ``VitalsError`` when it hangs."""
        pulse = self._pulse = self._pulse or Pulse(self._patience, heard_at=self._clock())
        answered = self._probe.healthy()
        now = self._clock()
        pulse.note(answered=answered, now=now)
        if pulse.lost(now):
            message = f"vLLM has not answered for {now - pulse.heard_at:.0f} s"
            raise VitalsError(message, code="worker_hung")
        return answered
