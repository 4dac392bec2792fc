"""What tenants were charged in a span, by tenant and currency; day summaries stand for whole days."""

from collections import defaultdict
from datetime import date
from decimal import Decimal
from uuid import UUID

from django.db import connection
from django.db.models import Sum

from portal.home.figures import gaps, whole_days
from portal.home.models import DayCharge, DayFigures
from portal.home.windows import Span

Charges = dict[tuple[UUID, str], Decimal]

_LEDGER = (
    "SELECT tenant_id, currency, sum(input_amount + cached_input_amount + output_amount)"
    " FROM billing_ledgerentry WHERE ts >= %s AND ts < %s GROUP BY 1, 2"
)


def charges(span: Span) -> Charges:
    """Exact sums by (tenant id, currency)."""
    found: Charges = defaultdict(Decimal)
    first, last = whole_days(span)
    days: set[date] = set(
        DayFigures.objects.filter(tenant_id__isnull=True, day__gte=first, day__lt=last).values_list(
            "day", flat=True
        )
    )
    if days:
        rows = DayCharge.objects.filter(day__in=days).values_list("tenant_id", "currency")
        for tenant, currency, amount in rows.annotate(total=Sum("amount")):
            found[tenant, currency] += amount
    for gap in gaps(span, days):
        with connection.cursor() as cursor:
            cursor.execute(_LEDGER, [gap.start, gap.end])
            for tenant, currency, amount in cursor.fetchall():
                found[tenant, currency] += amount
    return found


def by_currency(found: Charges) -> list[tuple[str, Decimal]]:
    """(currency, total), the largest first."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for (_, currency), amount in found.items():
        totals[currency] += amount
    return sorted(totals.items(), key=lambda pair: -pair[1])
