"""How long to wait before what died is started again."""

from dataclasses import dataclass

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0
STEADY_SECONDS = 60.0


@dataclass
class Backoff:
    """Doubles from one second to thirty; a service that lived a minute starts over with one second."""

    failures: int = 0
    started_at: float = 0.0

    def started(self, now: float) -> None:
        self.started_at = now

    def ended(self, now: float) -> float:
        """The seconds to wait before the next start."""
        if now - self.started_at >= STEADY_SECONDS:
            self.failures = 0
        delay = min(FIRST_SECONDS * 2.0 ** min(self.failures, 10), LONGEST_SECONDS)
        self.failures += 1
        return delay
