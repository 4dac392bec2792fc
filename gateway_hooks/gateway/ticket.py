"""One request's life: who, what, where, what was taken, what is known.

Made by the wrapper, seen by all hooks.

It travels in a context variable, never in anything that a client can write.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from gateway_hooks.admission.verdict import Ask, Verdict
from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.snapshot import Pool, Route
from gateway_hooks.contract.usage import Outcome
from gateway_hooks.gateway.body.endpoints import Endpoint
from gateway_hooks.gateway.body.parse import Body
from gateway_hooks.gateway.seal import Seal
from gateway_hooks.identity import Caller
from gateway_hooks.metering.usage import UsageTap


class Forward(NamedTuple):
    """Where an admitted request goes, and as whose."""

    caller: Caller
    route: Route
    pool: Pool
    worker: WorkerRecord
    alias: str
    seal: Seal


class Connection(Protocol):
    """What can be closed to make a worker stop."""

    def close(self) -> None: ...


@dataclass
class Ticket:
    """``started`` and ``first_byte`` are monotonic seconds; ``ts`` is the wall clock at the admission.

    ``forwarded`` says that a worker may have seen the request. ``closed`` ends everything: after it no hook
    and no transport moves for this request. ``rehearsal`` is the answer of a request that no client sent
    and no worker gets: the transport hands it back instead of asking anybody.
    """

    request_id: str
    endpoint: Endpoint
    ts: datetime
    started: float
    snapshot_version: int = 0
    caller: Caller | None = None
    body: Body | None = None
    route: Route | None = None
    forward: Forward | None = None
    ask: Ask | None = None
    verdict: Verdict | None = None
    forwarded: bool = False
    unreachable: bool = False
    connection: Connection | None = None
    upstream_status: int | None = None
    upstream_text: bytes = b""
    upstream_broke: bool = False
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
        return self.verdict is not None and self.verdict.refusal is None

    @property
    def refused(self) -> bool:
        """Redis said no, so nothing was taken."""
        return self.verdict is not None and self.verdict.refusal is not None

    @property
    def stream(self) -> bool:
        return self.body is not None and self.body.stream


CURRENT: ContextVar[Ticket | None] = ContextVar("tenantry_ticket", default=None)
