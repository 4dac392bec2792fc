"""What is asked of a pool's queue and what it answers, for the model and for Redis alike."""

from typing import Literal

import msgspec

from gateway_hooks.contract.pool_keys import COUNTER_SCALE

Status = Literal["granted", "waiting", "queue_full"]
Place = Literal["granted", "waiting", "gone"]
Left = Literal["left", "returned", "gone"]

UNBOUNDED = 2**50
"""A number of tokens that no pool has: for workers that do not say how many they can hold."""
PASS_WINDOW = 32
"""So many tenants are looked at when the first one's request does not fit."""


class Capacity(msgspec.Struct, frozen=True):
    """What a pool takes at once. Without sequences (no worker) nobody is seated."""

    sequences: int
    tokens: int = UNBOUNDED


class SeatAsk(msgspec.Struct, frozen=True, kw_only=True):
    """``tokens`` is prompt and output at most, at least 1; ``band`` orders service classes, 0 first.

    ``queue_depth`` is how many requests of this tenant may wait in this pool. ``info`` is what another
    gateway gets to read should this one die meanwhile: JSON, at most 2 KiB.
    """

    pool_id: str
    request_id: str
    tenant_id: str
    tokens: int
    weight: int = 1
    band: int = 0
    queue_depth: int = 32
    wait_ms: int = 10_000
    info: bytes = b"{}"


class Entered(msgspec.Struct, frozen=True):
    """``position`` is the place in the tenant's own queue, from 1; 0 for who does not wait.

    ``granted`` are all requests that this step seated, in order.
    """

    status: Status
    position: int
    granted: tuple[str, ...] = ()


class Departed(msgspec.Struct, frozen=True):
    """What a request gave up: its place (``left``), its seat (``returned``), or nothing (``gone``)."""

    what: Left
    granted: tuple[str, ...] = ()


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a gateway that died; ``seated`` says whether it may have run."""

    pool_id: str
    request_id: str
    seated: bool
    info: bytes


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """A place in the pool, held until finished. ``waited_us`` is 0 for who did not wait."""

    ask: SeatAsk
    waited_us: int


def cost(tokens: int, weight: int) -> int:
    """Counter units of so many tokens, rounded up; nothing is free, so that nobody is always first."""
    return -(-max(tokens, 1) * COUNTER_SCALE // weight)
