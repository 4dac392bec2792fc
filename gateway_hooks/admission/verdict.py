"""What is asked of admission and what it answers, for the model and for Redis alike."""

from typing import Literal

import msgspec

from gateway_hooks.contract.snapshot import Limits

Refusal = Literal[
    "rate_limit_requests", "rate_limit_tokens", "concurrency", "budget_exhausted", "limits_unavailable"
]

WINDOW_MS = 60_000
NO_LIMIT = -1
UNKNOWN_RETRY_MS = 2000
"""When to ask again while Redis does not know what was spent: the portal looks every other second."""
NEVER = -1
"""``retry_after_ms`` of a request that is larger than the limit itself."""


class Scope(msgspec.Struct, frozen=True):
    """One bearer of limits: the tenant, or a key."""

    name: str
    limits: Limits


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """``tokens`` and ``micro`` are the worst case; the lease ends by itself ``lease_ms`` after admission.

    ``at_ms`` is the gateway's clock, kept on the hold; what counts in windows is Redis' own.
    """

    request_id: str
    tenant_id: str
    month: str
    tokens: int
    micro: int
    lease_ms: int
    at_ms: int
    scopes: tuple[Scope, ...]


class Used(msgspec.Struct, frozen=True):
    """A scope's counters after the decision."""

    requests: int
    tokens: int
    concurrent: int
    spend_micro: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``refusal`` is None for an admitted request; ``scope`` is the index of the scope that refused."""

    refusal: Refusal | None
    scope: int
    retry_after_ms: int
    used: tuple[Used, ...]
