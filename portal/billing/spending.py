"""What the ledger says was spent in the running day and month of each tenant's zone, by scope."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import DecimalField, ExpressionWrapper, F, Q, QuerySet, Sum
from django.db.models.functions import Ceil

from gateway_hooks.contract import keys
from portal.billing.models import LedgerEntry
from portal.billing.months import bounds_of, day_bounds, day_of, month_of
from portal.tenants.models import Tenant

MICRO = 1_000_000
_WHOLE: "DecimalField[Decimal, Decimal]" = DecimalField(max_digits=40, decimal_places=0)


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

    Sums what the gateway would have counted: every request rounded up to a micro.
    """
    spent: dict[Scope, int] = {}
    for zone in tenants.order_by().values_list("billing_timezone", flat=True).distinct():
        for scope, micro in _in_zone(tenants.filter(billing_timezone=zone), zone, now):
            if micro:
                spent[scope] = spent.get(scope, 0) + micro
    return spent


def _in_zone(tenants: "QuerySet[Tenant]", zone: str, now: datetime) -> Iterator[tuple[Scope, int]]:
    month, day = month_of(now, zone), day_of(now, zone)
    start, end = bounds_of(month, zone)
    today, tomorrow = day_bounds(now, zone)
    micro = _micro()
    rows = (
        LedgerEntry.objects.filter(tenant__in=tenants, ts__gte=start, ts__lt=end, rate__isnull=False)
        .order_by()
        .values_list("tenant_id", "app_id", "key_id")
        .annotate(
            month=Sum(micro, output_field=_WHOLE),
            day=Sum(micro, output_field=_WHOLE, filter=Q(ts__gte=today, ts__lt=tomorrow)),
        )
    )
    for tenant_id, app_id, key_id, of_month, of_day in rows.iterator():
        for name in _names(app_id, key_id):
            yield Scope(tenant_id, name, month), int(of_month)
            yield Scope(tenant_id, name, day), int(of_day or 0)


def _micro() -> Ceil:
    total = F("input_amount") + F("cached_input_amount") + F("output_amount")
    return Ceil(ExpressionWrapper(total * MICRO, DecimalField(max_digits=40, decimal_places=12)))


def _names(app_id: UUID | None, key_id: str) -> list[str]:
    apps = [keys.app_scope(str(app_id))] if app_id else []
    return [keys.TENANT_SCOPE, *apps, *([keys.key_scope(key_id)] if key_id else [])]
