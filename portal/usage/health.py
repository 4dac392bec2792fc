"""How a tenant is served: what was refused and why, which versions answered, what was masked, who waited."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count

from portal.usage.models import GatewayUsage
from portal.usage.reasons import reason

DAY, WEEK = timedelta(hours=24), timedelta(days=7)
SHOWN = 6
SERVED_WORDS = {
    "pinned": "pinned version",
    "stable": "stable version",
    "canary": "canary",
    "beta": "beta",
    "fallback": "fallback",
    "base": "base model",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """``share`` is of all that the list counts, in percent."""

    name: str
    words: str
    count: int
    share: int


@dataclass(frozen=True, kw_only=True)
class Masked:
    """Values of one entity that were masked."""

    entity: str
    day: int
    week: int


@dataclass(frozen=True, kw_only=True)
class Health:
    """The last 24 hours, but for ``Masked.week``. Shadow copies are in none of it."""

    requests: int
    refused: int
    rejections: list[Row]
    served: list[Row]
    degraded: int
    masked: list[Masked]
    waited: int
    wait_p50_us: float | None
    wait_p95_us: float | None


def tenant_health(tenant_id: UUID, now: datetime) -> Health:
    """Three queries, each on the tenant's own rows."""
    rows = (
        GatewayUsage.objects.filter(tenant_id=tenant_id, ts__gte=now - DAY, shadow_of="")
        .order_by()
        .values_list("outcome", "reason", "served", "degraded")
        .annotate(n=Count("pk"))
    )
    requests, degraded = 0, 0
    reasons: Counter[str] = Counter()
    served: Counter[str] = Counter()
    for outcome, code, kind, is_degraded, n in rows:
        requests += n
        degraded += n if is_degraded else 0
        if outcome == "rejected":
            reasons[code] += n
        elif kind:
            served[kind] += n
    waited, p50, p95 = _waits(tenant_id, now)
    return Health(
        requests=requests,
        refused=reasons.total(),
        rejections=_rows(reasons, {code: reason(code).what for code in reasons}),
        served=_rows(served, SERVED_WORDS),
        degraded=degraded,
        masked=_masked(tenant_id, now),
        waited=waited,
        wait_p50_us=p50,
        wait_p95_us=p95,
    )


def _rows(counts: Counter[str], words: dict[str, str]) -> list[Row]:
    whole = counts.total()
    return [
        Row(name=name, words=words.get(name, name), count=n, share=round(100 * n / whole))
        for name, n in counts.most_common()
    ]


_WAITS = """
SELECT count(*) FILTER (WHERE queue_us > 0),
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY queue_us)
FROM usage_gatewayusage
WHERE tenant_id = %s AND ts >= %s AND queue_us IS NOT NULL AND shadow_of = ''
"""
_MASKED = """
SELECT found.key, sum(found.value::bigint) FILTER (WHERE ts >= %s), sum(found.value::bigint)
FROM usage_gatewayusage, jsonb_each_text(pii_counts) AS found
WHERE tenant_id = %s AND ts >= %s AND pii_counts <> '{}'::jsonb AND shadow_of = ''
GROUP BY 1 ORDER BY 3 DESC, 1
"""


def _waits(tenant_id: UUID, now: datetime) -> tuple[int, float | None, float | None]:
    ((waited, both),) = _fetch(_WAITS, [tenant_id, now - DAY])
    p50, p95 = both or (None, None)
    return int(waited), p50, p95


def _masked(tenant_id: UUID, now: datetime) -> list[Masked]:
    rows = _fetch(_MASKED, [now - DAY, tenant_id, now - WEEK])
    return [Masked(entity=entity, day=int(day or 0), week=int(week)) for entity, day, week in rows]


def _fetch(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
