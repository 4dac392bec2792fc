"""The rule of a pool's queue without Redis: what the Lua script must do, in a form that can be proved.

Weighted Virtual Token Counter (Sheng et al., "Fairness in Serving Large Language Models",
arXiv 2401.00588), with charges at the projected tokens that are corrected at the end, and with a bound on
tokens in flight. ``docs/fairness.md`` has the theorem.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway_hooks.fairness.ask import (
    PASS_WINDOW,
    Capacity,
    Departed,
    Entered,
    Lost,
    Place,
    SeatAsk,
    cost,
)


class Arrival(NamedTuple):
    """A waiting request; ``number`` counts the arrivals of the pool."""

    number: int
    ask: SeatAsk


@dataclass
class TenantState:
    """``counter`` is service divided by weight since the tenant was first seen in ``band``, plus lifts."""

    band: int
    counter: int
    queue: list[Arrival] = field(default_factory=list)
    seats: int = 0


@dataclass
class PoolModel:
    """One pool. ``last`` is, by band, the least counter when its queue ran empty."""

    tenants: dict[str, TenantState] = field(default_factory=dict)
    seats: dict[str, SeatAsk] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    deadlines: dict[str, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    arrivals: int = 0
    passed: int = 0

    @property
    def tokens(self) -> int:
        """Tokens in flight, as projected."""
        return sum(ask.tokens for ask in self.seats.values())

    def enter(self, ask: SeatAsk, gateway_id: str, capacity: Capacity, *, beat_until: int) -> Entered:
        known = self.tenants.get(ask.tenant_id)
        self.beat(gateway_id, beat_until=beat_until)
        if known is not None and len(known.queue) >= max(ask.queue_depth, 1):
            return Entered("queue_full", 0)
        self._enqueue(ask)
        self.owners[ask.request_id] = gateway_id
        granted = self.dispatch(capacity)
        if ask.request_id in granted:
            return Entered("granted", 0, granted)
        if ask.queue_depth == 0:
            self._withdraw(ask.request_id)
            return Entered("queue_full", 0, granted)
        return Entered("waiting", len(self.tenants[ask.tenant_id].queue), granted)

    def dispatch(self, capacity: Capacity) -> tuple[str, ...]:
        """Seat whoever is next, until nobody may be seated; their request ids in order."""
        granted = []
        while (tenant_id := self._next(capacity)) is not None:
            granted.append(self._seat(tenant_id))
        return tuple(granted)

    def finish(self, request_id: str, capacity: Capacity, *, actual: int | None) -> Departed:
        """Without ``actual`` the projected tokens stand."""
        released = self._release(request_id, actual=actual)
        return Departed("returned" if released else "gone", self.dispatch(capacity) if released else ())

    def leave(self, request_id: str, capacity: Capacity) -> Departed:
        if self._withdraw(request_id):
            return Departed("left", self.dispatch(capacity))
        return self.finish(request_id, capacity, actual=0)

    def beat(self, gateway_id: str, *, beat_until: int) -> None:
        self.deadlines[gateway_id] = beat_until

    def reap(self, capacity: Capacity, *, now_ms: int) -> tuple[tuple[Lost, ...], tuple[str, ...]]:
        """What was lost with gateways whose heartbeat ended, and who got their seats."""
        dead = [
            name for _, name in sorted((end, name) for name, end in self.deadlines.items() if end <= now_ms)
        ]
        lost = [one for gateway_id in dead for one in self._bury(gateway_id)]
        return tuple(lost), self.dispatch(capacity) if dead else ()

    def place(self, request_id: str) -> Place:
        if request_id in self.seats:
            return "granted"
        return "waiting" if self._waiting(request_id) is not None else "gone"

    def order(self) -> list[str]:
        """The waiting tenants, next first."""
        waiting = ((name, state) for name, state in self.tenants.items() if state.queue)
        keyed = sorted((state.band, state.counter, state.queue[0].number, name) for name, state in waiting)
        return [name for *_, name in keyed]

    def _enqueue(self, ask: SeatAsk) -> None:
        state = self.tenants.get(ask.tenant_id)
        if state is None or not state.queue:
            state = self._join(ask, state)
        self.arrivals += 1
        state.queue.append(Arrival(self.arrivals, ask))

    def _join(self, ask: SeatAsk, state: TenantState | None) -> TenantState:
        """Lift a tenant that did not wait: what it did not use is no credit, what it used stays."""
        floor = self._floor(ask.band)
        if state is None:
            state = self.tenants[ask.tenant_id] = TenantState(ask.band, floor)
        elif state.band != ask.band:
            # Counters of different bands say nothing about each other.
            state.band, state.counter = ask.band, floor
        state.counter = max(state.counter, floor)
        return state

    def _floor(self, band: int) -> int:
        waiting = [one.counter for one in self.tenants.values() if one.queue and one.band == band]
        return min(waiting, default=self.last.get(band, 0))

    def _next(self, capacity: Capacity) -> str | None:
        """The first in order if it fits, else one that may pass it. Notes what has passed."""
        if len(self.seats) >= capacity.sequences:
            return None
        lead: dict[int, int] = {}
        for rank, name in enumerate(self.order()[:PASS_WINDOW]):
            state = self.tenants[name]
            ask = state.queue[0].ask
            may_pass = self.passed + ask.tokens <= capacity.tokens and state.counter <= lead.get(
                state.band, state.counter
            )
            if self._fits(ask, capacity) and (rank == 0 or may_pass):
                self.passed = 0 if rank == 0 else self.passed + ask.tokens
                return name
            lead.setdefault(state.band, state.counter + cost(ask.tokens, ask.weight))
        return None

    def _fits(self, ask: SeatAsk, capacity: Capacity) -> bool:
        return not self.seats or self.tokens + ask.tokens <= capacity.tokens

    def _seat(self, tenant_id: str) -> str:
        state = self.tenants[tenant_id]
        ask = state.queue.pop(0).ask
        self._vacated(state)
        state.counter += cost(ask.tokens, ask.weight)
        state.seats += 1
        self.seats[ask.request_id] = ask
        return ask.request_id

    def _vacated(self, state: TenantState) -> None:
        if not any(one.queue for one in self.tenants.values() if one.band == state.band):
            self.last[state.band] = state.counter

    def _release(self, request_id: str, *, actual: int | None) -> bool:
        ask = self.seats.pop(request_id, None)
        if ask is None:
            return False
        del self.owners[request_id]
        state = self.tenants[ask.tenant_id]
        state.seats -= 1
        if actual is not None and state.band == ask.band:
            correction = cost(actual, ask.weight) - cost(ask.tokens, ask.weight)
            state.counter = max(0, state.counter + correction)
        return True

    def _withdraw(self, request_id: str) -> bool:
        state = self._waiting(request_id)
        if state is None:
            return False
        state.queue = [one for one in state.queue if one.ask.request_id != request_id]
        del self.owners[request_id]
        self._vacated(state)
        return True

    def _waiting(self, request_id: str) -> TenantState | None:
        for state in self.tenants.values():
            if any(one.ask.request_id == request_id for one in state.queue):
                return state
        return None

    def _bury(self, gateway_id: str) -> Iterable[Lost]:
        del self.deadlines[gateway_id]
        for request_id in sorted(name for name, owner in self.owners.items() if owner == gateway_id):
            state = self._waiting(request_id)
            ask = self.seats.get(request_id) or _ask_of(state, request_id)
            seated = self._release(request_id, actual=None)
            if not seated:
                self._withdraw(request_id)
            yield Lost(pool_id=ask.pool_id, request_id=request_id, seated=seated, info=ask.info)


def _ask_of(state: TenantState | None, request_id: str) -> SeatAsk:
    queue = state.queue if state is not None else ()
    return next(one.ask for one in queue if one.ask.request_id == request_id)
