"""Requests that a limit or a full queue refused of late: which limit, and what was asked of it."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from portal.usage.models import GatewayUsage

LOOK_BACK = timedelta(hours=24)
LIMIT_OF = {
    "rate_limit_requests": ("requests_per_minute",),
    "rate_limit_tokens": ("tokens_per_minute",),
    "concurrency": ("concurrency",),
    "kv_budget": ("kv_budget_mib",),
    "context_cap": ("context_tokens",),
    "budget_exhausted": ("daily_spend_limit", "monthly_spend_limit"),
}
"""Reason -> the limits that refuse with it, as the portal names them."""


class Refusal(NamedTuple):
    """``limit``, ``used`` and ``asked`` are in the limit's unit; money in micros, KV cache in bytes."""

    at: datetime
    request_id: str
    reason: str
    scope: str
    limit: int | None
    used: int | None
    asked: int | None


def last_refusals(tenant_id: UUID, now: datetime) -> list[Refusal]:
    """The newest of each limit and scope in the last 24 hours, in one query."""
    rows = GatewayUsage.objects.filter(
        tenant_id=tenant_id, ts__gte=now - LOOK_BACK, outcome="rejected", reason__in=list(LIMIT_OF)
    )
    newest = rows.order_by("reason", "refused_scope", "refused_limit", "-ts").distinct(
        "reason", "refused_scope", "refused_limit"
    )
    fields = ("ts", "request_id", "reason", "refused_scope", "refused_limit", "refused_used", "refused_asked")
    return [Refusal(*row) for row in newest.values_list(*fields)]
