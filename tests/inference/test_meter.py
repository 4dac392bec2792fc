"""Nothing is charged twice and nothing is lost, whatever order the engine does things in."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.meter import Meter, Metered, MeterError, Outcome, Part, Stretch

START = 1_000


def outcome(reason: str = "stop", **counts: int) -> Outcome:
    values = {"prompt_tokens": 4, "cached_tokens": 0, "completion_tokens": 2, **counts}
    return Outcome(reason=reason, **values)  # type: ignore[arg-type]


def part(name: str, tokens: int, before: int = 0, *, prompt: int = 4, preemptions: int = 0) -> Part:
    return Part(
        request_id=name,
        tokens=tokens,
        computed_before=before,
        prompt_tokens=prompt,
        preemptions=preemptions,
        kv_blocks=1,
    )


def started(*names: str) -> Meter:
    meter = Meter(started_ns=START)
    for name in names:
        meter.arrived(name, now_ns=START)
    return meter


def test_a_step_is_charged_from_scheduling_to_update() -> None:
    meter = started("a")
    meter.scheduled([part("a", 4)], now_ns=START + 100)
    meter.finished("a", outcome(), now_ns=START + 180)

    (metered,) = meter.updated(now_ns=START + 200)

    assert (metered.prefill_ns, metered.decode_ns) == (100, 0)
    assert (metered.queue_ns, metered.steps) == (100, 1)


def test_of_two_steps_in_flight_the_second_is_charged_from_where_the_first_ended() -> None:
    meter = started("a", "b")
    meter.scheduled([part("a", 4)], now_ns=START + 100)
    meter.scheduled([part("b", 4)], now_ns=START + 110)
    meter.updated(now_ns=START + 200)
    meter.finished("b", outcome(), now_ns=START + 230)

    (metered,) = meter.updated(now_ns=START + 260)

    assert metered.prefill_ns == 60


def test_an_aborted_request_pays_for_the_step_that_it_is_still_in() -> None:
    meter = started("a")
    meter.scheduled([part("a", 4)], now_ns=START + 10)
    meter.updated(now_ns=START + 20)
    meter.scheduled([part("a", 1, 4)], now_ns=START + 30)
    told = meter.finished("a", outcome("abort"), now_ns=START + 35)

    (metered,) = meter.updated(now_ns=START + 50)

    assert told is None
    assert (metered.prefill_ns, metered.decode_ns) == (10, 20)
    assert metered.outcome.reason == "abort"


def test_a_request_that_never_ran_is_told_at_once_and_has_only_waited() -> None:
    meter = started("a")

    metered = meter.finished("a", outcome("abort"), now_ns=START + 70)

    assert metered is not None
    assert (metered.queue_ns, metered.prefill_ns, metered.decode_ns, metered.steps) == (70, 0, 0, 0)


def test_what_is_computed_again_after_a_preemption_is_prefill() -> None:
    meter = started("a")
    for before, tokens in ((0, 4), (4, 1), (5, 1)):
        meter.scheduled([part("a", tokens, before)], now_ns=START)
        meter.updated(now_ns=START)
    meter.scheduled([part("a", 7, 0, preemptions=1)], now_ns=START + 100)
    meter.finished("a", outcome(preemptions=1), now_ns=START + 160)

    (metered,) = meter.updated(now_ns=START + 170)

    assert (metered.prefill_ns, metered.decode_ns) == (60, 10)


def test_a_step_of_an_unknown_request_or_an_update_without_a_step_is_an_error() -> None:
    meter = started()

    with pytest.raises(MeterError, match="never arrived"):
        meter.scheduled([part("ghost", 1)], now_ns=START)
    with pytest.raises(MeterError, match="never scheduled"):
        meter.updated(now_ns=START)


def test_start_up_ends_when_ready_is_told_and_the_rest_is_idle() -> None:
    meter = started()

    startup = meter.ready(now_ns=START + 500)
    idle = meter.cut(now_ns=START + 800)

    assert startup == Stretch(start_ns=START, end_ns=START + 500, startup_ns=500, busy_ns=0, steps=0)
    assert idle == Stretch(start_ns=START + 500, end_ns=START + 800, startup_ns=0, busy_ns=0, steps=0)


def test_a_stretch_is_not_cut_through_a_running_step() -> None:
    meter = started("a")
    meter.scheduled([part("a", 4)], now_ns=START + 10)

    assert meter.cut(now_ns=START + 50) is None
    meter.updated(now_ns=START + 60)
    assert meter.cut(now_ns=START + 60) is not None


@dataclass
class Engine:
    """Drives a meter as an engine would, with up to ``depth`` steps in flight."""

    depth: int
    meter: Meter = field(default_factory=lambda: Meter(started_ns=START))
    now: int = START
    computed: dict[str, int] = field(default_factory=dict)
    preemptions: dict[str, int] = field(default_factory=dict)
    in_flight: deque[int] = field(default_factory=deque)
    done: list[Metered] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    arrived: int = 0

    def arrive(self) -> None:
        name = f"r{self.arrived}"
        self.arrived += 1
        self.meter.arrived(name, now_ns=self.now)
        self.computed[name] = self.preemptions[name] = 0

    def schedule(self, tokens: list[int]) -> None:
        if len(self.in_flight) == self.depth or not self.computed:
            return
        parts = []
        for name, count in zip(self.computed, tokens, strict=False):
            parts.append(part(name, count, self.computed[name], preemptions=self.preemptions[name]))
            self.computed[name] += count
        self.meter.scheduled(parts, now_ns=self.now)
        self.in_flight.append(self.now)

    def update(self) -> None:
        if self.in_flight:
            self.in_flight.popleft()
            self.done += self.meter.updated(now_ns=self.now)

    def preempt(self) -> None:
        if self.computed:
            name = next(reversed(self.computed))
            self.computed[name] = 0
            self.preemptions[name] += 1

    def finish(self, reason: str) -> None:
        if self.computed:
            name = next(iter(self.computed))
            del self.computed[name]
            metered = self.meter.finished(name, outcome(reason), now_ns=self.now)
            self.done += [metered] if metered else []

    def cut(self) -> None:
        stretch = self.meter.cut(now_ns=self.now)
        self.stretches += [stretch] if stretch else []

    def ready(self) -> None:
        stretch = self.meter.ready(now_ns=self.now)
        self.stretches += [stretch] if stretch else []


moves = st.one_of(
    st.just(("arrive",)),
    st.tuples(st.just("schedule"), st.lists(st.integers(1, 50), min_size=1, max_size=8)),
    st.just(("update",)),
    st.just(("preempt",)),
    st.tuples(st.just("finish"), st.sampled_from(["stop", "length", "abort", "error"])),
    st.just(("cut",)),
    st.just(("ready",)),
)


@given(
    depth=st.sampled_from([1, 2]),
    story=st.lists(st.tuples(st.integers(0, 10_007), moves), max_size=120),
)
def test_shares_sum_to_busy_time_and_stretches_touch(
    depth: int, story: list[tuple[int, tuple[object, ...]]]
) -> None:
    engine = Engine(depth=depth)
    for passed, (move, *arguments) in story:
        engine.now += passed
        getattr(engine, str(move))(*arguments)
    while engine.in_flight:
        engine.now += 13
        engine.update()
    while engine.computed:
        engine.finish("abort")

    done, last = engine.meter.close(now_ns=engine.now + 5)
    metered = engine.done + done
    stretches = [*engine.stretches, last]

    assert len(metered) == engine.arrived
    charged = sum(request.prefill_ns + request.decode_ns for request in metered)
    assert charged == sum(stretch.busy_ns for stretch in stretches)
    assert [s.start_ns for s in stretches] == [START, *(s.end_ns for s in stretches[:-1])]
    assert last.end_ns == engine.now + 5
    for stretch in stretches:
        assert stretch.startup_ns >= 0
        assert stretch.startup_ns + stretch.busy_ns <= stretch.end_ns - stretch.start_ns
