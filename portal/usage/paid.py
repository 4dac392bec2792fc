"""Which events are a tenant's own use: not shadow copies, and not tries that gave its client nothing.

Both cost GPU time, which is the platform's. Few requests are tried twice, and an index knows them.
"""

from django.db.models import Exists, OuterRef, QuerySet

from portal.usage.models import EngineUsage, GatewayUsage

FAILED = ("upstream_error", "timeout", "gateway_error", "gateway_lost")
"""Outcomes of requests that were let in and got no whole answer."""

OWN_REQUESTS = "usage_gatewayusage.shadow_of = ''"
OWN_WORK = (
    "NOT usage_engineusage.shadow AND NOT EXISTS (SELECT FROM usage_gatewayusage answered"
    " WHERE answered.attempts > 1 AND answered.request_id = usage_engineusage.request_id"
    " AND answered.attempts <> usage_engineusage.attempt AND answered.outcome <> 'gateway_lost')"
)
"""Conditions for queries on the two tables under their own names."""


def own_requests() -> "QuerySet[GatewayUsage]":
    return GatewayUsage.objects.filter(shadow_of="")


def own_work() -> "QuerySet[EngineUsage]":
    """As ``joining.paying`` decides it, for sums; of a gateway that died every try counts."""
    answered = GatewayUsage.objects.filter(attempts__gt=1, request_id=OuterRef("request_id")).exclude(
        outcome="gateway_lost"
    )
    elsewhere = answered.exclude(attempts=OuterRef("attempt"))
    return EngineUsage.objects.filter(~Exists(elsewhere), shadow=False)
