"""What the ledger says was spent in the running day and month of each tenant's zone, by scope."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import DecimalField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Ceil

from gateway_hooks.contract import keys
from portal.billing.models import LedgerEntry, SpentDay
from portal.billing.months import bounds_of, day_bounds, day_of, month_of, next_month
from portal.billing.spent_days import MICRO
from portal.tenants.models import Tenant

_MONTH_AT_MOST = 33
"""Days, with those by which zones are apart."""
_WHOLE: "DecimalField[Decimal, Decimal]" = DecimalField(max_digits=40, decimal_places=0)

_Row = tuple[UUID, UUID | None, str, Any, Any]
"""(tenant, app, key, this month's micro-currency, today's or None)."""
_RowsOf = Callable[["QuerySet[Tenant]", str, datetime], Iterable[_Row]]


@dataclass(frozen=True)
class Scope:
    """Whose money of which period: ``name`` and ``period`` as in ``contract.keys.spend``."""

    tenant_id: UUID
    name: str
    period: str

    @property
    def key(self) -> str:
        return keys.spend(str(self.tenant_id), self.name, self.period)


def spent_by_scope(tenants: "QuerySet[Tenant]", now: datetime) -> dict[Scope, int]:
    """Micro-currency of tenants, their apps and keys; scopes that spent nothing are left out.

    From the sums by day, which cost as much as there are keys in use; of tenants that moved to another zone
    within the month from the ledger.
    """
    first = (now - timedelta(days=_MONTH_AT_MOST)).date()
    own_days = SpentDay.objects.filter(tenant_id=OuterRef("pk"), day__gte=first)
    moved = tenants.filter(Exists(own_days.exclude(zone=OuterRef("billing_timezone"))))
    ids = list(moved.values_list("pk", flat=True))
    spent = _sums(tenants.exclude(pk__in=ids), now, _of_days)
    return spent | (_sums(tenants.filter(pk__in=ids), now, _of_ledger) if ids else {})


def spent_in_ledger(tenants: "QuerySet[Tenant]", now: datetime) -> dict[Scope, int]:
    """The same from every entry of the month: every request rounded up to a micro."""
    return _sums(tenants, now, _of_ledger)


def _sums(tenants: "QuerySet[Tenant]", now: datetime, rows_of: _RowsOf) -> dict[Scope, int]:
    spent: dict[Scope, int] = defaultdict(int)
    for zone in tenants.order_by().values_list("billing_timezone", flat=True).distinct():
        month, day = month_of(now, zone), day_of(now, zone)
        for tenant_id, app_id, key_id, of_month, of_day in rows_of(
            tenants.filter(billing_timezone=zone), zone, now
        ):
            for name in _names(app_id, key_id):
                spent[Scope(tenant_id, name, month)] += int(of_month)
                spent[Scope(tenant_id, name, day)] += int(of_day or 0)
    return {scope: micro for scope, micro in spent.items() if micro}


def _of_days(tenants: "QuerySet[Tenant]", zone: str, now: datetime) -> "Iterable[_Row]":
    today = date.fromisoformat(day_of(now, zone))
    first, following = (date.fromisoformat(f"{month}-01") for month in _months(now, zone))
    rows = SpentDay.objects.filter(
        zone=zone, day__gte=first, day__lt=following, tenant_id__in=tenants.values("pk")
    )
    return (
        rows.order_by()
        .values_list("tenant_id", "app_id", "key_id")
        .annotate(month=Sum("micro"), today=Sum("micro", filter=Q(day=today)))
        .iterator()
    )


def _months(now: datetime, zone: str) -> tuple[str, str]:
    month = month_of(now, zone)
    return month, next_month(month)


def _of_ledger(tenants: "QuerySet[Tenant]", zone: str, now: datetime) -> "Iterable[_Row]":
    start, end = bounds_of(month_of(now, zone), zone)
    today, tomorrow = day_bounds(now, zone)
    micro = _micro()
    return (
        LedgerEntry.objects.filter(tenant__in=tenants, ts__gte=start, ts__lt=end, rate__isnull=False)
        .order_by()
        .values_list("tenant_id", "app_id", "key_id")
        .annotate(
            month=Sum(micro, output_field=_WHOLE),
            day=Sum(micro, output_field=_WHOLE, filter=Q(ts__gte=today, ts__lt=tomorrow)),
        )
        .iterator()
    )


def _micro() -> Ceil:
    total = F("input_amount") + F("cached_input_amount") + F("output_amount")
    return Ceil(ExpressionWrapper(total * MICRO, DecimalField(max_digits=40, decimal_places=12)))


def _names(app_id: UUID | None, key_id: str) -> list[str]:
    apps = [keys.app_scope(str(app_id))] if app_id else []
    return [keys.TENANT_SCOPE, *apps, *([keys.key_scope(key_id)] if key_id else [])]
