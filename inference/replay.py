"""Remembers which signed requests were seen, for as long as their signature could be used again."""

from collections import OrderedDict

from inference.errors import InferenceError

MAX_REMEMBERED = 500_000


class ReplayError(InferenceError):
    """The request was seen before."""

    code = "identity_replayed"


class ReplayMemoryFullError(InferenceError):
    """More requests within one signature's life than can be remembered: refuse rather than forget."""

    code = "replay_memory_full"


class ReplayGuard:
    """Bounded. ``kept_seconds`` must cover the longest time for which a signature verifies."""

    def __init__(self, *, kept_seconds: float, max_remembered: int = MAX_REMEMBERED) -> None:
        self._kept_seconds = kept_seconds
        self._max_remembered = max_remembered
        self._seen: OrderedDict[str, float] = OrderedDict()

    def admit(self, request_id: str, *, now: float) -> None:
        """Raises ``ReplayError`` for a request id seen before, ``ReplayMemoryFullError`` beyond the bound."""
        while self._seen and next(iter(self._seen.values())) <= now - self._kept_seconds:
            self._seen.popitem(last=False)
        if request_id in self._seen:
            message = "this request was already sent"
            raise ReplayError(message)
        if len(self._seen) >= self._max_remembered:
            message = "too many requests to tell replays apart; try again"
            raise ReplayMemoryFullError(message)
        self._seen[request_id] = now
