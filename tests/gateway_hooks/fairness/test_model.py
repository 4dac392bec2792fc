"""What the queue promises, on the pure rule, against arrivals that mean harm."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_hooks.fairness.ask import PASS_WINDOW, Capacity, SeatAsk, cost
from gateway_hooks.fairness.model import PoolModel
from tests.gateway_hooks.fairness.asks import seat_ask

CAPACITY = Capacity(4, 100)
WEIGHTS = {"a": 1, "b": 1, "c": 3, "d": 7, "e": 2}
BANDS = {"e": 1}
SIZES = st.sampled_from([1, 2, 10, 40, 90, 100, 130])
ENTER = st.tuples(st.just("enter"), st.sampled_from(sorted(WEIGHTS)), SIZES)
FINISH = st.tuples(st.just("finish"), st.integers(0, 3), st.none() | st.sampled_from([0, 1, 5, 40, 200]))
LEAVE = st.tuples(st.just("leave"), st.integers(0, 20), st.none())
SPREE = st.tuples(st.just("spree"), st.sampled_from(sorted(WEIGHTS)), st.integers(1, 30))
DRAIN = st.tuples(st.just("drain"), st.sampled_from([1, 4, 30]), st.none() | st.just(1))
EVENTS = st.lists(ENTER | ENTER | FINISH | FINISH | LEAVE | SPREE | DRAIN, min_size=1, max_size=80)
"""A spree is a tenant that asks, is served and asks again; a drain serves so many in a row."""


@dataclass
class Run:
    """A pool under events, and what the theorem speaks of, counted apart from the model."""

    model: PoolModel = field(default_factory=PoolModel)
    capacity: Capacity = CAPACITY
    asked: dict[str, SeatAsk] = field(default_factory=dict)
    granted: list[str] = field(default_factory=list)
    service: Counter[str] = field(default_factory=Counter)
    largest: int = 0
    """The most that one request was charged, in counter units."""
    in_flight: int = 0
    """The most that all requests in flight were charged together."""
    overrun: int = 0
    """What requests used beyond their projection, altogether."""

    def step(self, event: tuple[str, Any, Any]) -> None:
        kind, what, how = event
        getattr(self, "on_" + kind)(what, how)

    def on_enter(self, tenant: str, tokens: int) -> None:
        self.enter(tenant, tokens)

    def on_finish(self, which: int, actual: int | None) -> None:
        names = sorted(self.model.seats, key=self.granted.index)
        if names:
            self.end(names[which % len(names)], actual)

    def on_leave(self, which: int, _: None) -> None:
        names = sorted(self.asked)
        if not names:
            return
        name = names[which % len(names)]
        if self.model.place(name) == "granted":
            self.end(name, 0)
        else:
            self.took(self.model.leave(name, self.capacity).granted)

    def on_spree(self, tenant: str, times: int) -> None:
        for _ in range(times):
            name = self.enter(tenant, 100)
            self.on_drain(1, None)
            if self.model.place(name) == "granted":
                self.end(name, None)

    def on_drain(self, times: int, actual: int | None) -> None:
        for name in self.granted[-times:]:
            if name in self.model.seats:
                self.end(name, actual)

    def enter(self, tenant: str, tokens: int, **changes: Any) -> str:
        weight = WEIGHTS.get(tenant, 1)
        values = {"weight": weight, "band": BANDS.get(tenant, 0), "queue_depth": 100, **changes}
        ask = seat_ask(f"r{len(self.asked):04}", tenant, tokens=tokens, **values)
        self.asked[ask.request_id] = ask
        self.largest = max(self.largest, cost(tokens, weight))
        self.took(self.model.enter(ask, "gw", self.capacity, beat_until=0).granted)
        return ask.request_id

    def end(self, name: str, actual: int | None) -> None:
        ask = self.asked[name]
        if actual is not None:
            change = cost(actual, ask.weight) - cost(ask.tokens, ask.weight)
            self.service[ask.tenant_id] += change
            self.overrun += max(0, change)
        self.took(self.model.finish(name, self.capacity, actual=actual).granted)

    def took(self, names: tuple[str, ...]) -> None:
        for name in names:
            ask = self.asked[name]
            self.service[ask.tenant_id] += cost(ask.tokens, ask.weight)
        self.granted += names
        charges = (cost(ask.tokens, ask.weight) for ask in self.model.seats.values())
        self.in_flight = max(self.in_flight, sum(charges))

    @property
    def bound(self) -> int:
        return 2 * self.largest + self.in_flight + self.overrun

    def backlogged(self) -> list[str]:
        return self.model.order()


@given(events=EVENTS)
@settings(max_examples=600, deadline=None)
def test_counters_of_tenants_that_wait_differ_by_no_more_than_the_bound(events: list[Any]):
    run = Run()

    for event in events:
        run.step(event)

        for one, other in combinations(run.backlogged(), 2):
            ours, theirs = run.model.tenants[one], run.model.tenants[other]
            assert ours.band != theirs.band or abs(ours.counter - theirs.counter) <= run.bound


@given(events=EVENTS)
@settings(max_examples=600, deadline=None)
def test_service_of_two_backlogged_tenants_differs_by_no_more_than_twice_the_bound(events: list[Any]):
    run, since = Run(), dict[tuple[str, str], tuple[int, int]]()

    for event in events:
        run.step(event)
        both = [
            (one, other)
            for one, other in combinations(sorted(run.backlogged()), 2)
            if run.model.tenants[one].band == run.model.tenants[other].band
        ]
        since = {pair: since.get(pair, (run.service[pair[0]], run.service[pair[1]])) for pair in both}

        for (one, other), (ours, theirs) in since.items():
            assert abs(run.service[one] - ours - run.service[other] + theirs) <= 2 * run.bound


@given(events=EVENTS)
def test_no_more_is_in_flight_than_the_pool_takes_but_one_request_that_is_larger(events: list[Any]):
    run = Run()

    for event in events:
        run.step(event)

        assert len(run.model.seats) <= CAPACITY.sequences
        assert run.model.tokens <= CAPACITY.tokens or len(run.model.seats) == 1


@given(events=EVENTS)
def test_no_seat_is_idle_while_the_next_in_order_fits(events: list[Any]):
    run = Run()

    for event in events:
        run.step(event)

        order = run.backlogged()
        if order and len(run.model.seats) < CAPACITY.sequences:
            first = run.model.tenants[order[0]].queue[0].ask
            assert run.model.seats
            assert run.model.tokens + first.tokens > CAPACITY.tokens


@given(events=EVENTS)
def test_no_seat_is_idle_while_somebody_fits_who_may_pass(events: list[Any]):
    run = Run()

    for event in events:
        run.step(event)

        free = CAPACITY.tokens - run.model.tokens
        if len(run.model.seats) < CAPACITY.sequences:
            lead: dict[int, int] = {}
            for name in run.backlogged():
                state = run.model.tenants[name]
                ask = state.queue[0].ask
                ahead = state.counter > lead.get(state.band, state.counter)
                assert ask.tokens > free or ahead or run.model.passed + ask.tokens > CAPACITY.tokens
                lead.setdefault(state.band, state.counter + cost(ask.tokens, ask.weight))


@given(events=EVENTS)
def test_a_tenants_requests_are_seated_in_the_order_they_came(events: list[Any]):
    run = Run()

    for event in events:
        run.step(event)

    for tenant in WEIGHTS:
        order = [name for name in run.granted if run.asked[name].tenant_id == tenant]
        assert order == sorted(order)
    assert len(run.granted) == len(set(run.granted))


@given(events=EVENTS)
def test_once_nobody_else_comes_everybody_is_seated(events: list[Any]):
    run = Run()
    for event in events:
        run.step(event)

    while run.model.seats:
        run.end(min(run.model.seats, key=run.granted.index), None)

    assert run.backlogged() == []


@given(hog=SIZES, size=st.integers(1, 130), tenants=st.integers(1, 3))
def test_whoever_waits_is_seated_while_others_of_the_band_never_stop(hog: int, size: int, tenants: int):
    run = Run()
    names = [f"hog-{number}" for number in range(tenants)]
    for name in names * 3:
        run.enter(name, hog)
    victim = run.enter("a", size)

    rounds = 0
    while run.model.place(victim) == "waiting":
        for name in names:
            run.enter(name, hog)
        run.end(min(run.model.seats, key=run.granted.index), hog)
        rounds += 1
        assert rounds <= 10 * (run.bound // cost(hog, 1) + 1) * tenants


def test_small_requests_pass_a_large_one_for_one_poolful_and_then_the_pool_drains_for_it():
    run = Run()
    run.enter("a", 60)
    large = run.enter("b", 90)
    passed = 0

    while run.model.place(large) == "waiting":
        name = run.enter(f"small-{len(run.asked)}", 20)
        if run.model.place(name) == "granted":
            passed += 20
        for done in [one for one in run.model.seats if one != "r0000"]:
            run.end(done, None)
        if run.model.passed + 20 > CAPACITY.tokens:
            run.end("r0000", None)

    assert passed == CAPACITY.tokens


def test_once_a_poolful_has_passed_nobody_else_does():
    run = Run()
    holder, large = run.enter("a", 60), run.enter("b", 90)

    for number in range(20):
        run.enter(f"small-{number}", 20)
        for done in [one for one in run.model.seats if one != holder]:
            run.end(done, None)

    assert run.model.place(large) == "waiting"
    assert len(run.granted) == 1 + CAPACITY.tokens // 20
    run.end(holder, None)
    assert run.granted[-1] == large


def test_after_a_turn_in_order_others_may_pass_again():
    run = Run()
    for tenant in ("b", "c"):
        holder = run.enter("a", 60)
        large = run.enter(tenant, 90)
        for number in range(5):
            run.end(run.enter(f"small-{tenant}-{number}", 20), None)
        run.end(holder, None)
        run.end(large, None)

    assert len(run.granted) == 2 * (2 + 5)


def test_nobody_passes_who_is_further_ahead_than_the_first_ones_own_request():
    run = Run()
    holder, large = run.enter("holder", 20), run.enter("a", 85)

    for _ in range(12):
        run.enter("hog", 10)
        for done in [name for name in run.model.seats if name != holder]:
            run.end(done, None)

    passed = [name for name in run.granted if run.asked[name].tenant_id == "hog"]
    assert run.model.place(large) == "waiting"
    assert len(passed) == 9
    assert run.model.passed < CAPACITY.tokens


def test_a_request_larger_than_the_pool_is_seated_when_the_pool_is_empty():
    run = Run()
    small = run.enter("a", 10)
    huge = run.enter("b", 500)

    before = run.model.place(huge)
    run.end(small, 10)

    assert (before, run.model.place(huge)) == ("waiting", "granted")


def test_a_tenant_that_was_idle_starts_with_the_others_and_not_before_them():
    run = Run(capacity=Capacity(1))
    run.enter("late", 10)
    run.end("r0000", 10)
    for _ in range(40):
        run.enter("busy", 10)
    for _ in range(20):
        run.end(next(iter(run.model.seats)), 10)

    for _ in range(10):
        run.enter("late", 10)
    start = len(run.granted)
    for _ in range(10):
        run.end(next(iter(run.model.seats)), 10)

    shares = Counter(run.asked[name].tenant_id for name in run.granted[start:])
    assert shares == {"late": 5, "busy": 5}


def test_using_an_idle_pool_is_not_held_against_a_tenant():
    run = Run(capacity=Capacity(1))
    for _ in range(100):
        name = run.enter("alone", 90)
        run.end(name, 90)
    run.enter("fresh", 90)
    for tenant in ("fresh", "alone") * 4:
        run.enter(tenant, 90)

    for _ in range(4):
        run.end(run.granted[-1], 90)

    shares = Counter(run.asked[name].tenant_id for name in run.granted[101:])
    assert shares == {"alone": 2, "fresh": 2}


@pytest.mark.parametrize(("heavy", "light"), [(1, 1), (3, 1), (7, 2)])
def test_service_follows_weights(heavy: int, light: int):
    run = Run(capacity=Capacity(1))
    turns = 40 * (heavy + light)
    for _ in range(turns):
        run.enter("x", 10, weight=heavy, queue_depth=10_000)
        run.enter("y", 10, weight=light, queue_depth=10_000)

    for _ in range(turns):
        run.end(next(iter(run.model.seats)), 10)

    shares = Counter(run.asked[name].tenant_id for name in run.granted)
    assert abs(shares["x"] * light - shares["y"] * heavy) <= 2 * (heavy + light)


def test_a_band_is_served_before_the_next_one():
    run = Run(capacity=Capacity(1))
    run.enter("z", 10)
    low = run.enter("low", 10, band=1)
    high = [run.enter("high", 10, band=0) for _ in range(3)]

    while run.backlogged():
        run.end(next(iter(run.model.seats)), 10)

    assert run.granted[1:] == [*high, low]


def test_nobody_waits_beyond_the_depth_of_the_tenants_queue():
    model, capacity = PoolModel(), Capacity(1)

    statuses = [
        model.enter(seat_ask(f"r{number}", queue_depth=depth), "gw", capacity, beat_until=0).status
        for number, depth in enumerate([0, 0, 2, 2, 2])
    ]

    assert statuses == ["granted", "queue_full", "waiting", "waiting", "queue_full"]
    assert set(model.owners) == {"r0", "r2", "r3"}


def test_what_a_request_did_not_use_comes_off_its_tenants_counter():
    run = Run()
    name = run.enter("a", 90)
    charged = run.model.tenants["a"].counter

    run.end(name, 9)

    assert (charged, run.model.tenants["a"].counter) == (cost(90, 1), cost(9, 1))


def test_a_dead_gateways_requests_are_told_once_and_their_seats_are_given_on():
    model, capacity = PoolModel(), Capacity(1)
    model.enter(seat_ask("seated"), "dead", capacity, beat_until=5)
    model.enter(seat_ask("queued"), "dead", capacity, beat_until=5)
    model.enter(seat_ask("other", "b"), "alive", capacity, beat_until=99)

    early = model.reap(capacity, now_ms=4)
    lost, granted = model.reap(capacity, now_ms=5)
    again = model.reap(capacity, now_ms=6)

    assert early == again == ((), ())
    assert [(one.request_id, one.seated) for one in lost] == [("queued", False), ("seated", True)]
    assert granted == ("other",)


def test_only_so_many_tenants_are_looked_at_as_the_window_holds():
    run = Run(capacity=Capacity(100, 100))
    run.enter("first", 50)
    for number in range(PASS_WINDOW):
        run.enter(f"large-{number:03}", 60)

    small = run.enter("small", 10)

    assert run.model.place(small) == "waiting"
