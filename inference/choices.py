"""Several answers to one request (``n``): vLLM runs a request of its own for each, one event pays for all.

The children are recognised by the signed request id and attempt and counted by the signed ``n``, never by
the names that vLLM gives them. Pure; ``now_ns`` is the caller's monotonic clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway_hooks.contract.usage import FinishReason
from inference.facts import Facts
from inference.meter import Metered, Outcome

GRACE_NS: Final = 10 * 10**9
"""A client that hangs up while vLLM is still adding children leaves some out; so long they are waited for."""
_WORST: Final[tuple[FinishReason, ...]] = ("error", "abort", "length", "stop")

_Try = tuple[str, int]
"""(request id, attempt): a second try may come to the worker that still ends the first one."""


@dataclass(slots=True)
class _Group:
    facts: Facts
    arrived: list[str] = field(default_factory=list)
    done: list[Metered] = field(default_factory=list)
    idle_since_ns: int = 0

    @property
    def running(self) -> bool:
        return len(self.done) < len(self.arrived)

    @property
    def whole(self) -> bool:
        return len(self.done) >= self.facts.choices

    def total(self) -> Metered:
        return together(self.done, order=self.arrived, streams=self.facts.streams)


def _try_of(facts: Facts) -> _Try:
    return facts.request_id, facts.attempt


class Choices:
    """Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._groups: dict[_Try, _Group] = {}

    def arrived(self, facts: Facts, child_id: str) -> None:
        group = self._groups.setdefault(_try_of(facts), _Group(facts))
        if child_id not in group.arrived:
            group.arrived.append(child_id)

    def finished(self, facts: Facts, metered: Metered, *, now_ns: int) -> Metered | None:
        """The request's total once its last child is done, else None."""
        group = self._groups[_try_of(facts)]
        group.done.append(metered)
        group.idle_since_ns = now_ns
        return self._groups.pop(_try_of(facts)).total() if group.whole else None

    def given_up(self, *, now_ns: int) -> list[tuple[Facts, Metered]]:
        """Requests whose other children are not coming any more: all that came is done, for a while."""
        late = [
            group
            for group in self._groups.values()
            if group.done and not group.running and now_ns - group.idle_since_ns >= GRACE_NS
        ]
        return [self._end(group) for group in late]

    def close(self) -> list[tuple[Facts, Metered]]:
        """The engine ends: what is done of each request."""
        return [self._end(group) for group in list(self._groups.values()) if group.done]

    def _end(self, group: _Group) -> tuple[Facts, Metered]:
        del self._groups[_try_of(group.facts)]
        return group.facts, group.total()


def together(done: Sequence[Metered], *, order: Sequence[str], streams: bool) -> Metered:
    """One request's total. ``done`` in the order of their ends, ``order`` the children's in that of arrival.

    The prompt counts once, as in ``usage``. Its cached tokens are those that vLLM reports: the first
    child's in a stream, else the last one's to end. Time, steps, completion tokens and preemptions are
    sums. So is the peak of KV blocks: an upper bound, since children share the prompt's blocks and need not
    peak together. The request waited until its first child was scheduled, and ended as the worst of its
    children did: error, abort, length, stop.
    """
    outcomes = [metered.outcome for metered in done]
    first = min(done, key=lambda metered: order.index(metered.request_id))
    cached_of = first if streams else done[-1]
    outcome = Outcome(
        reason=min((outcome.reason for outcome in outcomes), key=_WORST.index),
        prompt_tokens=max(outcome.prompt_tokens for outcome in outcomes),
        cached_tokens=cached_of.outcome.cached_tokens,
        completion_tokens=sum(outcome.completion_tokens for outcome in outcomes),
        preemptions=sum(outcome.preemptions for outcome in outcomes),
    )
    return Metered(
        request_id=first.request_id,
        outcome=outcome,
        finished_ns=max(metered.finished_ns for metered in done),
        prefill_ns=sum(metered.prefill_ns for metered in done),
        decode_ns=sum(metered.decode_ns for metered in done),
        queue_ns=min(metered.queue_ns for metered in done),
        steps=sum(metered.steps for metered in done),
        peak_kv_blocks=sum(metered.peak_kv_blocks for metered in done),
    )
