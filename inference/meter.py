"""Who used the engine for how long: pure arithmetic over the steps of a continuous batch.

A step is scheduled, runs, and is updated with its result. Its busy time is
``t_updated - max(t_scheduled, t_previous_updated)``: with two batches in flight the second one is charged
only from where the first ended, so no nanosecond is charged twice. The busy time is split over the
step's scheduled tokens by largest remainder; hence the shares of all requests sum to the busy time of
all intervals, to the nanosecond. Time is ``int`` nanoseconds of one monotonic clock.

Splitting by token count is a convention: it is wall time of the engine, not kernel time.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway_hooks.contract.usage import FinishReason
from inference.errors import InferenceError
from inference.shares import split


class MeterError(InferenceError):
    """The engine told a story that cannot be: a bug in the adapter or a changed engine."""

    code = "meter_inconsistent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One request's part of a step.

    ``tokens`` are scheduled in this step on top of ``computed_before`` ones; ``preemptions`` so far.
    """

    request_id: str
    tokens: int
    computed_before: int
    prompt_tokens: int
    preemptions: int = 0
    kv_blocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the engine itself counted a request that came to its end."""

    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    preemptions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """A request whose last step has been charged. ``queue_ns`` is from arrival to first scheduling."""

    request_id: str
    outcome: Outcome
    finished_ns: int
    prefill_ns: int
    decode_ns: int
    queue_ns: int
    steps: int
    peak_kv_blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """``[start_ns, end_ns)`` of the engine's life; ``startup_ns + busy_ns`` never exceed its length."""

    start_ns: int
    end_ns: int
    startup_ns: int
    busy_ns: int
    steps: int


@dataclass(slots=True)
class _Running:
    arrived_ns: int
    first_scheduled_ns: int | None = None
    prefill_ns: int = 0
    decode_ns: int = 0
    steps: int = 0
    steps_in_flight: int = 0
    peak_kv_blocks: int = 0
    preemptions: int = 0
    computed: int = 0
    recompute_until: int = 0
    outcome: Outcome | None = None
    finished_ns: int = 0


@dataclass(slots=True)
class _Step:
    scheduled_ns: int
    parts: list[tuple[str, int, int]] = field(default_factory=list)  # request, tokens, prefill tokens


class Meter:
    """Not thread-safe: its owner holds a lock.

    The engine is starting from ``started_ns`` until ``ready``; what is not busy until then is start-up.
    """

    def __init__(self, *, started_ns: int) -> None:
        self._requests: dict[str, _Running] = {}
        self._steps: deque[_Step] = deque()
        self._charged_until_ns = started_ns
        self._stretch_start_ns = started_ns
        self._busy_ns = 0
        self._busy_steps = 0
        self._starting = True

    def arrived(self, request_id: str, *, now_ns: int) -> None:
        self._requests.setdefault(request_id, _Running(arrived_ns=now_ns))

    def scheduled(self, parts: Sequence[Part], *, now_ns: int) -> None:
        """A step of at least one token starts. Steps are updated in the order they were scheduled."""
        step = _Step(now_ns)
        for part in parts:
            request = self._requests.get(part.request_id)
            if request is None:
                message = f"a step holds request {part.request_id}, which never arrived"
                raise MeterError(message)
            if request.first_scheduled_ns is None:
                request.first_scheduled_ns = now_ns
            request.steps_in_flight += 1
            request.peak_kv_blocks = max(request.peak_kv_blocks, part.kv_blocks)
            step.parts.append((part.request_id, part.tokens, _prefill_tokens(request, part)))
        self._steps.append(step)

    def finished(self, request_id: str, outcome: Outcome, *, now_ns: int) -> Metered | None:
        """The request came to its end. None if a step with it is still in flight: then ``updated`` tells."""
        request = self._requests.get(request_id)
        if request is None or request.outcome is not None:
            return None
        request.outcome = outcome
        request.finished_ns = now_ns
        return self._take(request_id) if request.steps_in_flight == 0 else None

    def updated(self, *, now_ns: int) -> list[Metered]:
        """The oldest step in flight is done: charge it. Returns the requests this completes."""
        if not self._steps:
            message = "a step was updated that was never scheduled"
            raise MeterError(message)
        step = self._steps.popleft()
        busy_ns = max(0, now_ns - max(step.scheduled_ns, self._charged_until_ns))
        self._charged_until_ns = max(now_ns, self._charged_until_ns)
        self._busy_ns += busy_ns
        self._busy_steps += 1
        shares = split(busy_ns, [tokens for _, tokens, _ in step.parts])
        done = []
        for (request_id, tokens, prefill_tokens), share in zip(step.parts, shares, strict=True):
            request = self._requests[request_id]
            prefill_ns = share * prefill_tokens // tokens
            request.prefill_ns += prefill_ns
            request.decode_ns += share - prefill_ns
            request.steps += 1
            request.steps_in_flight -= 1
            if request.outcome is not None and request.steps_in_flight == 0:
                done.append(self._take(request_id))
        return done

    def ready(self, *, now_ns: int) -> Stretch | None:
        """Start-up ends here. None if a step is in flight: ask again."""
        stretch = self.cut(now_ns=now_ns)
        if stretch is not None:
            self._starting = False
        return stretch

    def cut(self, *, now_ns: int) -> Stretch | None:
        """End the current stretch and start the next one where it ends.

        With a step in flight the cut is only exact where the last one was charged, so None unless that
        moment is ``now_ns`` or later: cut right after ``updated``, or when the engine is idle.
        """
        if self._steps and now_ns > self._charged_until_ns:
            return None
        end_ns = max(now_ns, self._charged_until_ns)
        length_ns = end_ns - self._stretch_start_ns
        stretch = Stretch(
            start_ns=self._stretch_start_ns,
            end_ns=end_ns,
            startup_ns=length_ns - self._busy_ns if self._starting else 0,
            busy_ns=self._busy_ns,
            steps=self._busy_steps,
        )
        self._stretch_start_ns = end_ns
        # A step that was being scheduled during the cut is charged from here on.
        self._charged_until_ns = end_ns
        self._busy_ns = 0
        self._busy_steps = 0
        return stretch

    def close(self, *, now_ns: int) -> tuple[list[Metered], Stretch]:
        """The engine ends: give up steps in flight, complete finished requests, close the last stretch."""
        for step in self._steps:
            for request_id, _, _ in step.parts:
                self._requests[request_id].steps_in_flight = 0
        self._steps.clear()
        done = [self._take(name) for name, request in list(self._requests.items()) if request.outcome]
        stretch = self.cut(now_ns=now_ns)
        assert stretch is not None  # noqa: S101 - no step is in flight any more
        return done, stretch

    @property
    def stretch_start_ns(self) -> int:
        return self._stretch_start_ns

    def _take(self, request_id: str) -> Metered:
        request = self._requests.pop(request_id)
        assert request.outcome is not None  # noqa: S101 - callers checked it
        first_ns = request.first_scheduled_ns
        waited_until_ns = request.finished_ns if first_ns is None else first_ns
        return Metered(
            request_id=request_id,
            outcome=request.outcome,
            finished_ns=request.finished_ns,
            prefill_ns=request.prefill_ns,
            decode_ns=request.decode_ns,
            queue_ns=max(0, waited_until_ns - request.arrived_ns),
            steps=request.steps,
            peak_kv_blocks=request.peak_kv_blocks,
        )


def _prefill_tokens(request: _Running, part: Part) -> int:
    """How many of the part's tokens fill the cache for known text rather than decode a new token.

    A preempted request computes its own output again: that is filling, not decoding.
    """
    if part.preemptions > request.preemptions:
        request.preemptions = part.preemptions
        request.recompute_until = request.computed
    known = max(part.prompt_tokens, request.recompute_until)
    request.computed = part.computed_before + part.tokens
    return min(part.tokens, max(0, known - part.computed_before))
