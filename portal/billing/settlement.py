"""Keeps the gateway's money counters in Redis honest: settles holds, and raises what Redis forgot."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db.models import DecimalField, ExpressionWrapper, F, QuerySet, Sum
from django.db.models.functions import Ceil

from gateway_hooks.contract import keys
from gateway_hooks.contract.settlement import RAISE_SPEND, SETTLE, SPEND_KEPT_SECONDS
from portal.billing.models import LedgerEntry
from portal.billing.months import bounds_of, month_of
from portal.core.redis import client as redis_client
from portal.tenants.models import Tenant

MICRO = 1_000_000


def settle_holds(settlements: Iterable[tuple[str, str, int]]) -> int:
    """Settle (tenant id, request id, micro-currency) each; how many still had a hold."""
    connected = redis_client()
    script = connected.register_script(SETTLE)
    with connected.pipeline(transaction=False) as pipeline:
        for tenant_id, request_id, micro in settlements:
            script(keys=[keys.holds(tenant_id)], args=[request_id, micro], client=pipeline)
        return sum(int(answer) for answer in pipeline.execute())


def raise_spend_floor(now: datetime) -> int:
    """Lift every counter of the current month that is below the ledger; how many were looked at."""
    return _raise(Tenant.objects.all(), now)


def make_spend_known(now: datetime) -> int:
    """The same for tenants whose counters Redis does not have, new ones or after a loss; how many tenants.

    Until then a gateway refuses whoever of them has a spend limit.
    """
    ids = list(Tenant.objects.order_by().values_list("pk", flat=True))
    with redis_client().pipeline(transaction=False) as pipeline:
        for pk in ids:
            pipeline.exists(keys.spend_known(str(pk)))
        unknown = [pk for pk, known in zip(ids, pipeline.execute(), strict=True) if not known]
    if unknown:
        _raise(Tenant.objects.filter(pk__in=unknown), now)
    return len(unknown)


def _raise(tenants: "QuerySet[Tenant]", now: datetime) -> int:
    """Per tenant and per key, in the tenant's own month. Sums what the gateway would have counted: every
    request rounded up to a micro. In one transaction of Redis, so that no counter is called known that
    was lost a moment after it was raised.
    """
    connected = redis_client()
    script = connected.register_script(RAISE_SPEND)
    counters = 0
    with connected.pipeline(transaction=True) as pipeline:
        for zone in tenants.order_by().values_list("billing_timezone", flat=True).distinct():
            for key, micro in _spent(tenants, zone, now).items():
                script(keys=[key], args=[micro, SPEND_KEPT_SECONDS], client=pipeline)
                counters += 1
        for pk in tenants.order_by().values_list("pk", flat=True):
            pipeline.set(keys.spend_known(str(pk)), 1)
        pipeline.execute()
    return counters


def _spent(tenants: "QuerySet[Tenant]", zone: str, now: datetime) -> dict[str, int]:
    """Micro-currency by spend key, for those of ``tenants`` whose months turn in ``zone``."""
    month = month_of(now, zone)
    start, end = bounds_of(month, zone)
    total = F("input_amount") + F("cached_input_amount") + F("output_amount")
    micro = Ceil(ExpressionWrapper(total * MICRO, DecimalField(max_digits=40, decimal_places=12)))
    rows = (
        LedgerEntry.objects.filter(
            tenant__in=tenants.filter(billing_timezone=zone), ts__gte=start, ts__lt=end, rate__isnull=False
        )
        .order_by()
        .values_list("tenant_id", "key_id")
        .annotate(micro=Sum(micro, output_field=DecimalField(max_digits=40, decimal_places=0)))
    )
    spent: dict[str, int] = {}
    for tenant_id, key_id, amount in rows:
        scopes = [keys.TENANT_SCOPE, *([keys.key_scope(key_id)] if key_id else [])]
        for scope in scopes:
            name = keys.spend(str(tenant_id), scope, month)
            spent[name] = spent.get(name, 0) + int(Decimal(amount))
    return spent
