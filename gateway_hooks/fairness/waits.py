"""How long requests have waited of late: what a refused client is told to wait."""

LEAST_SECONDS = 1.0
MOST_SECONDS = 60.0
_NEWEST = 0.2
"""The weight of the newest wait in the moving average."""


class RecentWaits:
    """An exponentially weighted average, by pool, of waits that this process saw end."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def note(self, pool_id: str, seconds: float) -> None:
        before = self._seconds.get(pool_id, seconds)
        self._seconds[pool_id] = before + _NEWEST * (seconds - before)

    def retry_after(self, pool_id: str) -> float:
        """Seconds after which asking again is likely to help."""
        return min(max(self._seconds.get(pool_id, 0.0), LEAST_SECONDS), MOST_SECONDS)
