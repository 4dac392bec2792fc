"""What admission answers, from the rule and from Redis alike."""

from typing import Literal

import msgspec

from gateway_hooks.contract.limits_view import Used

Refusal = Literal[
    "context_cap",
    "rate_limit_requests",
    "rate_limit_tokens",
    "concurrency",
    "kv_budget",
    "budget_exhausted",
    "limits_unavailable",
]
BudgetPeriod = Literal["", "day", "month"]

WINDOW_MS = 60_000
NEVER = -1
"""``retry_after_ms`` where waiting does not help: more is asked than the limit itself, or money is spent."""
BUSY_RETRY_MS = 1000
"""When to ask again while others run: their end is not known."""
UNKNOWN_RETRY_MS = 2000
"""When to ask again while Redis does not know what was spent: the portal looks every other second."""
RETRY_ENTRIES = 1000
"""So many entries of a window are looked at to say when tokens are free; beyond them it is said too early."""
MAX_END_USERS = 100_000
"""End users of one tenant with money counted in one day or month; further ones are refused."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``refusal`` is None for an admitted request; then ``max_output`` (per choice) and ``micro`` were taken.

    A refusal was by the scope at index ``scope``: of its ``limit``, ``used`` was taken and ``asked`` asked on
    top; ``period`` says which budget. ``counters`` are all scopes' after the decision.
    """

    refusal: Refusal | None = None
    scope: int = 0
    period: BudgetPeriod = ""
    limit: int = 0
    used: int = 0
    asked: int = 0
    retry_after_ms: int = 0
    max_output: int = 0
    micro: int = 0
    counters: tuple[Used, ...] = ()
