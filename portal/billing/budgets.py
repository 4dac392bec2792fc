"""The money limits in force now: of tenants, their apps, keys and issuers, with when to tell of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from django.db.models.functions import Coalesce

from gateway_hooks.contract import keys
from portal.billing.months import day_of, month_of
from portal.billing.spending import Scope
from portal.tenants.limits import raised_to, to_micro
from portal.tenants.models import ApiKey, App, LimitRaise, Tenant, TenantStatus, TokenIssuer
from portal.tenants.selectors import coming, usable

DAILY, MONTHLY = "daily_spend_limit", "monthly_spend_limit"
_LIMITED = Q(daily_spend_limit__isnull=False) | Q(monthly_spend_limit__isnull=False)


@dataclass(frozen=True)
class Budget:
    """A limit of more than nothing, in micro-currency; ``percentages`` rise."""

    scope: Scope
    limit_micro: int
    percentages: Sequence[int]
    period_at: Callable[[datetime], str]
    """The name of the period that a moment is in."""


@dataclass(frozen=True)
class _Owner:
    """What an app's, key's or issuer's budgets take from the tenant."""

    zone: str
    percentages: Sequence[int]


def budgets(now: datetime) -> Iterator[Budget]:
    """Of active tenants, with temporary raises; five queries."""
    raises = _raises(now)
    owners: dict[UUID, _Owner] = {}
    for row in _tenants():
        owner = owners[row.pk] = _Owner(row.billing_timezone, row.percentages)
        raised = raises.get(row.pk, {})
        limits = {
            kind: raised_to(usual, raised.get(kind))
            for kind, usual in ((DAILY, row.daily), (MONTHLY, row.monthly))
        }
        yield from _budgets(row.pk, keys.TENANT_SCOPE, limits, owner, now)
    for tenant_id, name, daily, monthly in (*_apps(), *_keys(now), *_issuers()):
        if owner_of := owners.get(tenant_id):
            yield from _budgets(tenant_id, name, {DAILY: daily, MONTHLY: monthly}, owner_of, now)


def _budgets(
    tenant_id: UUID, name: str, limits: Mapping[str, Decimal | None], owner: _Owner, now: datetime
) -> Iterator[Budget]:
    for kind, period_of in ((DAILY, day_of), (MONTHLY, month_of)):
        if limit := limits[kind]:
            period_at = partial(period_of, zone=owner.zone)
            scope = Scope(tenant_id, name, period_at(now))
            yield Budget(scope, to_micro(limit), owner.percentages, period_at)


def _tenants() -> Iterator[Any]:
    rows = Tenant.objects.filter(status=TenantStatus.ACTIVE).order_by()
    return iter(
        rows.annotate(
            daily=Coalesce(DAILY, F(f"tier__{DAILY}")),
            monthly=Coalesce(MONTHLY, F(f"tier__{MONTHLY}")),
            percentages=Coalesce("alert_percentages", F("tier__alert_percentages")),
        ).values_list("pk", "billing_timezone", "daily", "monthly", "percentages", named=True)
    )


def _apps() -> Iterator[tuple[UUID, str, Decimal | None, Decimal | None]]:
    rows = App.objects.filter(_LIMITED).order_by().values_list("tenant_id", "pk", DAILY, MONTHLY)
    return ((tenant, keys.app_scope(str(pk)), daily, monthly) for tenant, pk, daily, monthly in rows)


def _keys(now: datetime) -> Iterator[tuple[UUID, str, Decimal | None, Decimal | None]]:
    rows = ApiKey.objects.filter(_LIMITED, usable(now)).order_by()
    values = rows.values_list("app__tenant_id", "pk", DAILY, MONTHLY)
    return ((tenant, keys.key_scope(pk), daily, monthly) for tenant, pk, daily, monthly in values)


def _issuers() -> Iterator[tuple[UUID, str, Decimal | None, Decimal | None]]:
    rows = TokenIssuer.objects.filter(_LIMITED, active=True).order_by()
    values = rows.values_list("tenant_id", "pk", DAILY, MONTHLY)
    return ((tenant, keys.key_scope(f"jwt-{pk}"), daily, monthly) for tenant, pk, daily, monthly in values)


def _raises(now: datetime) -> dict[UUID, dict[str, Decimal]]:
    found: dict[UUID, dict[str, Decimal]] = {}
    rows = LimitRaise.objects.filter(coming(now), starts_at__lte=now, limit__in=(DAILY, MONTHLY))
    for tenant_id, limit, value in rows.order_by("starts_at").values_list("tenant_id", "limit", "value"):
        found.setdefault(tenant_id, {})[limit] = value
    return found
