"""Breakers: who fails repeatedly is left alone for a while, then tried by one request. Pure.

One per worker, for connections that are never made, and one per worker, adapter and tenant for everything
that only a request meets. So a broken adapter is avoided where it broke, for the one who uses it; whatever
a tenant provokes, even at the base model that all share, cools nobody else's traffic.
"""

from collections import deque
from collections.abc import Iterator
from typing import Literal, NamedTuple

Verdict = Literal["success", "failure", "neutral"]
State = Literal["closed", "open", "half_open"]


class Pair(NamedTuple):
    """What a breaker guards. With only a worker: the way to it."""

    worker_id: str
    adapter_digest: str | None = None
    tenant_id: str = ""


class Rule(NamedTuple):
    """Open after ``consecutive`` failures in a row, or when ``failures`` of the last ``outcomes`` within
    ``window`` failed; ask again after ``cooling``. Seconds.
    """

    consecutive: int
    failures: int
    outcomes: int
    window: float
    cooling: float


REQUESTS = Rule(consecutive=3, failures=5, outcomes=10, window=30.0, cooling=5.0)
FORGOTTEN_WINDOWS = 20
CONNECTIONS = Rule(consecutive=2, failures=2, outcomes=2, window=5.0, cooling=1.0)


class Breaker:
    """``now`` is monotonic seconds everywhere."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._recent: deque[tuple[float, bool]] = deque(maxlen=rule.outcomes)
        self._in_a_row = 0
        self.opened_at: float | None = None
        self._probing_since: float | None = None

    def state(self, now: float) -> State:
        if self.opened_at is None:
            return "closed"
        return "open" if now < self.opened_at + self._rule.cooling else "half_open"

    def admits(self, now: float) -> bool:
        """Whether a request may go now; asking changes nothing."""
        state = self.state(now)
        return state == "closed" or (state == "half_open" and not self._probes(now))

    def begin(self, now: float) -> None:
        """A request goes. While half open it is the only one until its end, or a window's length."""
        if self.state(now) == "half_open":
            self._probing_since = now

    def end(self, verdict: Verdict, now: float) -> bool:
        """How a request ended; True if that opened the breaker. ``neutral`` says nothing of who failed."""
        self._probing_since = None
        if verdict == "neutral":
            return False
        self._recent.append((now, verdict == "success"))
        if verdict == "success":
            if self.state(now) != "open":
                self._close(now)
            return False
        self._in_a_row += 1
        return self._open(now)

    def is_forgettable(self, now: float) -> bool:
        """Nothing in it matters any more: closed for a window, or open for many and never asked again."""
        last = self._recent[-1][0] if self._recent else now
        return now - last >= self._rule.window * (1 if self.opened_at is None else FORGOTTEN_WINDOWS)

    def _probes(self, now: float) -> bool:
        return self._probing_since is not None and now - self._probing_since < self._rule.window

    def _close(self, now: float) -> None:
        if self.opened_at is not None:
            self._recent.clear()
            self._recent.append((now, True))
        self.opened_at = None
        self._in_a_row = 0

    def _open(self, now: float) -> bool:
        """Opens anew at every failure that finds it half open: then one is enough."""
        state = self.state(now)
        failed = sum(not good for at, good in self._recent if now - at <= self._rule.window)
        too_many = self._in_a_row >= self._rule.consecutive or failed >= self._rule.failures
        if state == "open" or (state == "closed" and not too_many):
            return False
        self.opened_at = now
        return True


class Breakers:
    """Many of one rule, made at the first failure and forgotten when nothing in them matters."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._known: dict[Pair, Breaker] = {}

    def admits(self, pair: Pair, now: float) -> bool:
        breaker = self._known.get(pair)
        return breaker is None or breaker.admits(now)

    def begin(self, pair: Pair, now: float) -> None:
        breaker = self._known.get(pair)
        if breaker is not None:
            breaker.begin(now)

    def end(self, pair: Pair, verdict: Verdict, now: float) -> bool:
        breaker = self._known.get(pair)
        if breaker is None:
            if verdict != "failure":
                return False
            self._forget(now)
            breaker = self._known[pair] = Breaker(self._rule)
        return breaker.end(verdict, now)

    def reset(self, pair: Pair) -> None:
        self._known.pop(pair, None)

    def not_closed(self, now: float) -> Iterator[tuple[Pair, State, float]]:
        """``(pair, state, seconds since it opened)``."""
        for pair, breaker in self._known.items():
            if breaker.opened_at is not None:
                yield pair, breaker.state(now), now - breaker.opened_at

    def _forget(self, now: float) -> None:
        self._known = {pair: one for pair, one in self._known.items() if not one.is_forgettable(now)}
