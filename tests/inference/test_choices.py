"""One event per request, whatever its children do and in whatever order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.choices import GRACE_NS, Choices, together
from inference.facts import Facts
from inference.meter import Metered, Outcome

REASONS = ("stop", "length", "abort", "error")


def facts(request_id: str = "r", *, choices: int = 3, streams: bool = False) -> Facts:
    return Facts(
        request_id=request_id,
        issued_at=1.0,
        tenant_id="t",
        app_id="a",
        key_id="k",
        alias="x",
        choices=choices,
        streams=streams,
    )


def child(name: str, *, reason: str = "stop", **changes: int) -> Metered:
    counts = {"prompt_tokens": 4, "cached_tokens": 0, "completion_tokens": 2, "preemptions": 0}
    times = {
        "finished_ns": 9,
        "prefill_ns": 3,
        "decode_ns": 5,
        "queue_ns": 1,
        "steps": 2,
        "peak_kv_blocks": 1,
    }
    outcome: Any = {"reason": reason, **{key: changes.get(key, value) for key, value in counts.items()}}
    return Metered(
        request_id=name,
        outcome=Outcome(**outcome),
        **{key: changes.get(key, value) for key, value in times.items()},
    )


COUNT = st.integers(0, 10**12)
CHILD = st.fixed_dictionaries(
    dict.fromkeys(("completion_tokens", "cached_tokens", "preemptions"), COUNT)
    | dict.fromkeys(("prefill_ns", "decode_ns", "steps"), COUNT)
    | {"queue_ns": COUNT, "finished_ns": COUNT, "peak_kv_blocks": COUNT, "reason": st.sampled_from(REASONS)}
)
CHILDREN = st.lists(CHILD, min_size=2, max_size=8)


@given(children=CHILDREN, data=st.data(), streams=st.booleans())
def test_one_total_when_the_last_child_is_done_and_nothing_lost(children, data, *, streams: bool) -> None:
    known = facts(choices=len(children), streams=streams)
    made = [child(f"{index}_x", **values) for index, values in enumerate(children)]
    # vLLM may already be done with one child before it has added the next.
    events = data.draw(
        st.permutations([("arrives", one) for one in made] + [("ends", one) for one in made]).map(_causal)
    )
    choices = Choices()

    totals = []
    for what, one in events:
        if what == "arrives":
            choices.arrived(known, one.request_id)
        else:
            totals.append(choices.finished(known, one, now_ns=0))

    *early, total = totals
    assert early == [None] * (len(children) - 1)
    assert total is not None
    assert total.outcome.prompt_tokens == 4
    for name in ("prefill_ns", "decode_ns", "steps", "peak_kv_blocks"):
        assert getattr(total, name) == sum(values[name] for values in children)
    for name in ("completion_tokens", "preemptions"):
        assert getattr(total.outcome, name) == sum(values[name] for values in children)
    assert total.queue_ns == min(values["queue_ns"] for values in children)
    assert total.finished_ns == max(values["finished_ns"] for values in children)
    assert REASONS.index(total.outcome.reason) == max(REASONS.index(values["reason"]) for values in children)
    arrived = [one for what, one in events if what == "arrives"]
    ended = [one for what, one in events if what == "ends"]
    reporter = arrived[0] if streams else ended[-1]
    assert total.outcome.cached_tokens == reporter.outcome.cached_tokens
    assert choices.close() == []


def _causal(events: list[tuple[str, Metered]]) -> list[tuple[str, Metered]]:
    """Every end after its arrival."""
    ordered: list[tuple[str, Metered]] = []
    for what, one in events:
        if ("arrives", one.request_id) not in [(seen, other.request_id) for seen, other in ordered]:
            ordered.append(("arrives", one))
        if what == "ends":
            ordered.append((what, one))
    return ordered


def test_children_are_told_apart_by_the_signed_request_not_by_their_names() -> None:
    choices = Choices()
    one, other = facts("r-1", choices=2), facts("r-2", choices=2)
    for known, name in ((one, "0_a"), (other, "0_b"), (one, "1_a"), (other, "1_b")):
        choices.arrived(known, name)

    totals = [
        choices.finished(known, child(name), now_ns=0)
        for known, name in ((one, "0_a"), (other, "1_b"), (other, "0_b"), (one, "1_a"))
    ]

    assert [total.request_id if total else None for total in totals] == [None, None, "0_b", "0_a"]


def test_a_request_whose_other_children_never_came_ends_after_a_while() -> None:
    choices = Choices()
    choices.arrived(facts(), "0_a")
    choices.arrived(facts(), "1_a")
    choices.finished(facts(), child("0_a"), now_ns=0)

    while_one_runs = choices.given_up(now_ns=10 * GRACE_NS)
    choices.finished(facts(), child("1_a", reason="abort"), now_ns=100)
    too_early = choices.given_up(now_ns=GRACE_NS + 99)
    ((known, total),) = choices.given_up(now_ns=GRACE_NS + 100)

    assert while_one_runs == too_early == choices.given_up(now_ns=10 * GRACE_NS) == []
    assert known == facts()
    assert (total.outcome.completion_tokens, total.outcome.reason) == (4, "abort")


def test_the_end_of_the_engine_gives_what_is_done() -> None:
    choices = Choices()
    for name in ("0_a", "1_a", "2_a"):
        choices.arrived(facts(), name)
    choices.finished(facts(), child("1_a"), now_ns=0)

    ((_, total),) = choices.close()

    assert total.outcome.completion_tokens == 2
    assert choices.close() == []


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (("stop", "stop"), "stop"),
        (("stop", "length"), "length"),
        (("length", "abort"), "abort"),
        (("abort", "error"), "error"),
    ],
)
def test_a_request_ends_as_the_worst_of_its_children(reasons: tuple[str, str], expected: str) -> None:
    done = [child(f"{index}_a", reason=reason) for index, reason in enumerate(reasons)]

    assert together(done, order=["0_a", "1_a"], streams=False).outcome.reason == expected
