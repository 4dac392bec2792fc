"""What tenants were charged in a span, against their limits; day summaries stand for whole days.

All sums are PostgreSQL's: with ten thousand tenants only the few rows that are shown leave it.
"""

# ruff: noqa: S608 - the queries are put together from this module's constants; values are parameters

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from portal.core.windows import Span
from portal.home.figures import gaps, summarised_days

NEAR_LIMIT = Decimal("0.9")


@dataclass(frozen=True)
class Charged:
    """Exact sums of one currency. ``limited`` is the part of tenants that have a spend limit."""

    currency: str
    total: Decimal
    limited: Decimal


@dataclass(frozen=True)
class NearLimit:
    """A tenant that has used nine tenths of its monthly limit or more."""

    tenant_id: UUID
    name: str
    currency: str
    spent: Decimal
    limit: Decimal


def charged(span: Span) -> list[Charged]:
    """By currency, the largest first."""
    sql, values = _spent(span)
    rows = _rows(
        f"{sql} SELECT currency, sum(amount), coalesce(sum(amount) FILTER (WHERE top IS NOT NULL), 0)"
        " FROM spent LEFT JOIN limited USING (tenant_id) GROUP BY 1 ORDER BY 2 DESC, 1",
        values,
    )
    return [Charged(*row) for row in rows]


def near_limit(span: Span, *, shown: int) -> tuple[list[NearLimit], int]:
    """(the fullest ``shown`` tenants, how many there are in all)."""
    sql, values = _spent(span)
    rows = _rows(
        f"{sql} SELECT tenant_id, name, currency, amount, top, count(*) OVER ()"
        " FROM spent JOIN limited USING (tenant_id) WHERE top IS NOT NULL AND amount >= top * %s"
        " ORDER BY amount / nullif(top, 0) DESC NULLS FIRST, name LIMIT %s",
        [*values, NEAR_LIMIT, shown],
    )
    return [NearLimit(*row[:5]) for row in rows], rows[0][5] if rows else 0


def limits() -> tuple[int, Decimal]:
    """(active tenants with a monthly spend limit, the sum of these limits)."""
    ((count, total),) = _rows(f"WITH {_LIMITED} SELECT count(top), coalesce(sum(top), 0) FROM limited", [])
    return count, total


_LIMITED = (
    "limited AS (SELECT t.id AS tenant_id, t.name,"
    " coalesce(t.monthly_spend_limit, tier.monthly_spend_limit) AS top"
    " FROM tenants_tenant t JOIN tiers_tier tier ON tier.id = t.tier_id WHERE t.status = 'active')"
)
_DAYS = "SELECT tenant_id, currency, amount FROM home_daycharge WHERE day = ANY(%s)"
_LEDGER = (
    "SELECT tenant_id, currency, input_amount + cached_input_amount + output_amount"
    " FROM billing_ledgerentry WHERE ts >= %s AND ts < %s"
)


def _spent(span: Span) -> tuple[str, list[Any]]:
    """The common start of both queries: ``spent`` and ``limited``, with its values."""
    days: set[date] = set(summarised_days(span))
    parts: list[str] = [_DAYS]
    values: list[Any] = [sorted(days)]
    for gap in gaps(span, days):
        parts.append(_LEDGER)
        values += [gap.start, gap.end]
    union = " UNION ALL ".join(parts)
    return (
        f"WITH spent AS (SELECT tenant_id, currency, sum(amount) AS amount FROM ({union}) every"
        f" GROUP BY 1, 2), {_LIMITED}",
        values,
    )


def _rows(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())
