"""What needs a person, most urgent first: each with one link that leads to the remedy."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Protocol

from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce
from django.urls import reverse

from portal.adapters.models import Alias
from portal.billing.models import BillingPeriod, PeriodState, Rate
from portal.billing.selectors import rates_at
from portal.core.windows import month_to_date
from portal.core.wording import money
from portal.fleet.models import GatewayProcess, Pool, Worker
from portal.home.budget_alerts import budget_matters
from portal.home.charges import near_limit
from portal.home.fleet_matters import fleet_matters
from portal.home.matters import SHOWN, Matter
from portal.snapshots.models import PublishedSnapshot
from portal.tenants.models import Tenant, TenantStatus
from portal.usage.models import ParkedEvent

ALIVE = timedelta(seconds=60)
"""Processes report every few seconds; a minute of silence is no hiccup."""
PROPAGATION = timedelta(seconds=10)


class User(Protocol):
    def has_perm(self, perm: str, /) -> bool: ...


def matters(user: User, now: datetime) -> list[Matter]:
    """Only what ``user`` may see."""
    found = [
        *(_workers(now) if user.has_perm("fleet.view_worker") else ()),
        *(_gateways(now) if user.has_perm("fleet.view_gatewayprocess") else ()),
        *(fleet_matters(now, ALIVE) if user.has_perm("fleet.view_gatewayprocess") else ()),
        *(_near_limit(now) if _may_see_money(user) else ()),
        *(budget_matters(now) if user.has_perm("billing.view_budgetalert") else ()),
        *(_unpriced(now) if user.has_perm("adapters.view_alias") else ()),
        *(_parked() if user.has_perm("usage.view_parkedevent") else ()),
        *(_to_close(now) if user.has_perm("billing.view_billingperiod") else ()),
    ]
    order = ("critical", "warning", "info")
    return sorted(found, key=lambda matter: order.index(matter.level))


def _may_see_money(user: User) -> bool:
    return user.has_perm("billing.view_ledgerentry") and user.has_perm("tenants.view_tenant")


def _near_limit(now: datetime) -> Iterator[Matter]:
    this_month, _ = month_to_date(now)
    full, count = near_limit(this_month, shown=SHOWN)
    for one in full:
        over = one.spent >= one.limit
        share = f"{100 * one.spent / one.limit:.0f} %" if one.limit else "all"
        yield Matter(
            "critical" if over else "warning",
            "account_balance_wallet",
            f"{one.name} has used {share} of its monthly spend limit",
            f"{money(one.spent, one.currency)} of {money(one.limit, one.currency)} this month. "
            + ("Its requests are refused." if over else "At the limit its requests are refused."),
            reverse("admin:tenants_tenant_change", args=[one.tenant_id]),
            "Open limits",
        )
    if count > len(full):
        yield Matter(
            "warning",
            "account_balance_wallet",
            f"{count - len(full):,} more over 90 % of their monthly spend limit",
            "The fullest are listed above.",
            reverse("admin:tenants_tenant_changelist"),
            "Open tenants",
        )


def _unpriced(now: datetime) -> Iterator[Matter]:
    """Aliases that no rate of the current book covers: gateways refuse their requests."""
    book = rates_at(now).book
    rates = Rate.objects.filter(book=book) if book else Rate.objects.none()
    fitting = rates.filter(base_model=OuterRef("base")).filter(
        Q(tenant=OuterRef("tenant_id"))
        | Q(tier=OuterRef("tenant__tier_id"))
        | Q(tenant__isnull=True, tier__isnull=True)
    )
    covered = rates.filter(tenant__isnull=True, tier__isnull=True).values_list("base_model", flat=True)
    aliases = (
        Alias.objects.order_by("tenant__name", "name")
        .annotate(base=Coalesce("pool__base_model", F("tenant__pool__base_model")))
        .exclude(base__in=list(covered))
        .filter(~Exists(fitting))
    )
    names = list(aliases.values_list("tenant__name", "name")[: SHOWN + 1])
    if names:
        listed = ", ".join(f"{tenant} / {alias}" for tenant, alias in names[:SHOWN])
        yield Matter(
            "warning",
            "money_off",
            "Aliases without a price",
            listed
            + (" and more" if len(names) > SHOWN else "")
            + " have no rate in the current price book: their requests are refused.",
            reverse("admin:billing_pricebook_changelist"),
            "Open price books",
        )


def _workers(now: datetime) -> Iterator[Matter]:
    pools = dict(Pool.objects.values_list("pk", "name"))
    seen = list(Worker.objects.values_list("id", "pool_id", "seen_at", "state"))
    alive = {pool for _, pool, at, _ in seen if at >= now - ALIVE}
    link = reverse("admin:fleet_worker_changelist")
    for name, pool, at, _state in seen:
        if at < now - ALIVE and at >= now - timedelta(days=1):
            yield Matter(
                "warning" if pool in alive else "critical",
                "memory",
                f"Worker {name} is gone",
                f"It last reported at {at:%H:%M:%S} UTC"
                + ("." if pool in alive else f"; pool {pools.get(pool)} has no other."),
                link,
                "Open workers",
            )
    in_use = set(
        Tenant.objects.filter(status=TenantStatus.ACTIVE).values_list("pool_id", flat=True).distinct()
    )
    silent = {pool for _, pool, at, _ in seen if at >= now - timedelta(days=1)}
    for pool in sorted(in_use - alive - silent):
        yield Matter(
            "critical",
            "memory",
            f"Pool {pools[pool]} has no worker",
            "Requests of its tenants are refused until one is up.",
            link,
            "Open workers",
        )


def _gateways(now: datetime) -> Iterator[Matter]:
    newest = PublishedSnapshot.objects.values_list("version", "published_at").first()
    if newest is None or newest[1] > now - PROPAGATION:
        return
    behind = GatewayProcess.objects.filter(seen_at__gte=now - ALIVE, snapshot_version__lt=newest[0])
    for name, version, source in behind.values_list("id", "snapshot_version", "snapshot_source")[:SHOWN]:
        yield Matter(
            "warning",
            "sync_problem",
            f"Gateway {name} serves an old configuration",
            f"Version {version} from {source}; the newest is {newest[0]}. "
            "Revoked keys may still work there: look at its connection to Redis.",
            reverse("admin:fleet_gatewayprocess_changelist"),
            "Open gateways",
        )


def _parked() -> Iterator[Matter]:
    if count := ParkedEvent.objects.count():
        yield Matter(
            "warning",
            "inventory",
            f"{count:,} parked event{'s' if count != 1 else ''}",
            "These entries could not be understood and are in no figure. Nothing is lost.",
            reverse("admin:usage_parkedevent_changelist"),
            "Look at them",
        )


def _to_close(now: datetime) -> Iterator[Matter]:
    ready = BillingPeriod.objects.filter(state=PeriodState.OPEN, end__lte=now).order_by("month")
    for period in ready[:SHOWN]:
        yield Matter(
            "info",
            "event_available",
            f"{period.start:%B %Y} is over and can be closed",
            "Closing reconciles it, freezes its figures and makes the chargeback export final.",
            reverse("admin:billing_billingperiod_change", args=[period.pk]),
            "Review and close",
        )
