"""What this process has in the pools: who waits, who is seated, what has ended and may not be told yet."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from gateway_hooks.fairness.ask import Place, SeatAsk


@dataclass
class Waiter:
    """``entered`` once it is in Redis' queue; ``seated`` becomes True, or False for a place that was lost."""

    ask: SeatAsk
    seated: asyncio.Future[bool]
    entered: bool = False

    def decide(self, place: Place) -> None:
        if place != "waiting" and not self.seated.done():
            self.seated.set_result(place == "granted")


class Roll:
    def __init__(self) -> None:
        self.waiters: dict[str, Waiter] = {}
        self.seats: dict[str, str] = {}
        """Request id -> pool id."""
        self._ended: dict[str, tuple[str, int | None]] = {}
        self._strange: dict[str, frozenset[str]] = {}
        self._touched: set[str] = set()

    def touch(self, pool_id: str) -> None:
        self._touched.add(pool_id)

    @property
    def pools(self) -> tuple[str, ...]:
        """Where Redis may hold something of this process."""
        return tuple(self._touched)

    def waiting(self, pool_id: str) -> list[Waiter]:
        return [one for one in self.waiters.values() if one.entered and one.ask.pool_id == pool_id]

    def waiting_by_tenant(self, pool_id: str) -> Counter[str]:
        return Counter(one.ask.tenant_id for one in self.waiting(pool_id))

    def notice(self, granted: Iterable[str]) -> None:
        """Wake whoever is ours."""
        for request_id in granted:
            waiter = self.waiters.get(request_id)
            if waiter is not None:
                waiter.decide("granted")

    def sit(self, waiter: Waiter) -> None:
        self.seats[waiter.ask.request_id] = waiter.ask.pool_id
        self.waiters.pop(waiter.ask.request_id, None)

    def end(self, request_id: str, pool_id: str, actual: int | None) -> None:
        self.seats.pop(request_id, None)
        self._ended[request_id] = (pool_id, actual)

    def actual(self, request_id: str) -> tuple[bool, int | None]:
        """Whether the request ended here, and what it used as far as known."""
        ended = self._ended.get(request_id)
        return ended is not None, ended[1] if ended else None

    def compare(self, pool_id: str, owned: Collection[str]) -> list[str]:
        """What Redis says is ours, now and the last time, and we do not know: its end did not arrive.

        Twice, since an end may be on its way.
        """
        for request_id in [name for name, (pool, _) in self._ended.items() if pool == pool_id]:
            if request_id not in owned:
                del self._ended[request_id]
        strange = frozenset(name for name in owned if name not in self.waiters and name not in self.seats)
        again = strange & self._strange.get(pool_id, frozenset())
        self._strange[pool_id] = strange
        if not owned and not self._uses(pool_id):
            self._touched.discard(pool_id)
            del self._strange[pool_id]
        return sorted(again)

    def _uses(self, pool_id: str) -> bool:
        return pool_id in self.seats.values() or any(
            one.ask.pool_id == pool_id for one in self.waiters.values()
        )
