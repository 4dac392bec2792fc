"""One request's life: who, what, where, what was taken, what is known.

Made by the wrapper, seen by all hooks.

It travels in a context variable, never in anything that a client can write.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from gateway_hooks.admission.ask import Ask
from gateway_hooks.admission.decision import Verdict
from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.snapshot import Pool, Target
from gateway_hooks.contract.usage import Outcome, Served
from gateway_hooks.fairness.ask import Seat
from gateway_hooks.gateway.body.endpoints import Endpoint
from gateway_hooks.gateway.body.parse import Body
from gateway_hooks.gateway.masking.mask import Mask
from gateway_hooks.gateway.seal import Seal
from gateway_hooks.identity import Caller
from gateway_hooks.metering.usage import UsageTap

NOT_RUN = frozenset(range(400, 500)) | {503}
"""Answers by which a worker says that it did not run the request."""


class Plan(NamedTuple):
    """Who may serve an admitted request, as decided before it is: each try makes a ``Forward`` of it.

    ``fallback`` serves where ``target`` cannot. ``shadow`` gets a copy afterwards.
    """

    caller: Caller
    pool: Pool
    alias: str
    target: Target
    served: Served
    max_output: int
    choices: int = 1
    fallback: Target | None = None
    shadow: Target | None = None


class Forward(NamedTuple):
    """Where one try of an admitted request goes, and as whose."""

    caller: Caller
    route: Target
    worker: WorkerRecord
    alias: str
    seal: Seal


class Connection(Protocol):
    """What can be closed to make a worker stop."""

    def close(self) -> None: ...


@dataclass
class Ticket:
    """``started`` and ``first_byte`` are monotonic seconds; ``ts`` is the wall clock at the admission.

    From ``forward`` to ``tap`` it is about the newest try. ``forwarded`` says that a worker may have seen it,
    ``uncounted`` that an earlier one may have run and nobody told what it used. ``attempts`` counts tries,
    ``degraded`` says that the fallback serves. ``loads`` is the worker that has this try among its load.
    ``fields`` are the body that goes on. ``shadow_of`` is the request that this one copies. ``mask``
    restores what was masked, ``counted_prompt`` is the reserved prompt. ``on_allowance``: it runs
    uncounted, since Redis is away; ``limits_unknown``: Redis went away while it was asked, and may have
    counted. ``closed`` ends everything: after it no hook and no transport moves for this request.
    ``rehearsal`` is the answer of a request that no client sent and no worker gets: the transport hands it
    back instead of asking anybody.
    """

    request_id: str
    endpoint: Endpoint
    ts: datetime
    started: float
    snapshot_version: int = 0
    caller: Caller | None = None
    end_user: str | None = None
    body: Body | None = None
    plan: Plan | None = None
    route: Target | None = None
    fields: dict[str, Any] | None = None
    mask: Mask | None = None
    counted_prompt: int | None = None
    ask: Ask | None = None
    verdict: Verdict | None = None
    on_allowance: bool = False
    limits_unknown: bool = False
    seat: Seat | None = None
    queue_us: int | None = None
    attempts: int = 0
    degraded: bool = False
    uncounted: bool = False
    shadow_of: str | None = None
    forward: Forward | None = None
    loads: str | None = None
    forwarded: bool = False
    unreachable: bool = False
    connection: Connection | None = None
    upstream_status: int | None = None
    upstream_text: bytes = b""
    tap: UsageTap | None = None
    first_byte: float | None = None
    status: int = 0
    outcome: Outcome = "gateway_error"
    reason: str | None = None
    closed: bool = False
    rehearsal: bytes | None = None

    @property
    def admitted(self) -> bool:
        """Counted by Redis; False also for what runs uncounted while Redis is away."""
        return self.verdict is not None and self.verdict.refusal is None and not self.on_allowance

    @property
    def refused(self) -> bool:
        """The limits said no, so nothing was taken."""
        return self.verdict is not None and self.verdict.refusal is not None and not self.limits_unknown

    @property
    def may_have_run(self) -> bool:
        """At some worker, in some try."""
        return self.forwarded or self.uncounted

    @property
    def stream(self) -> bool:
        return self.body is not None and self.body.stream

    @property
    def served(self) -> Served | None:
        if self.degraded:
            return "fallback"
        return self.plan.served if self.plan is not None else None

    @property
    def ran_uncounted(self) -> bool:
        """The newest try may have run, and its end did not say what it used."""
        counted = self.tap is not None and self.tap.complete and self.tap.usage is not None
        return self.forwarded and not counted and self.upstream_status not in NOT_RUN

    def begin(self, forward: Forward) -> None:
        """A new try, of which nothing is known yet."""
        self.uncounted = self.uncounted or self.ran_uncounted
        self.attempts += 1
        self.forward, self.route = forward, forward.route
        self.forwarded = self.unreachable = False
        self.connection, self.upstream_status, self.tap = None, None, None
        self.upstream_text = b""


CURRENT: ContextVar[Ticket | None] = ContextVar("tenantry_ticket", default=None)
TRY: ContextVar[int] = ContextVar("tenantry_try", default=0)
"""The number of the try in which a task was started: what an earlier one left behind sends nothing more."""
