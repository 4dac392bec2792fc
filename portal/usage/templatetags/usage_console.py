"""Usage on the pages of other domains."""

from typing import Any

from django import template
from django.core.cache import cache

from portal.billing.gauge import Gauge, tenant_gauge
from portal.core import clock
from portal.core.windows import month_to_date
from portal.core.wording import latency
from portal.tenants.limit_figures import currency_now
from portal.tenants.limits import effective_limits
from portal.tenants.models import Tenant
from portal.tenants.tabs import OVERVIEW, Tab, tabs_of
from portal.usage.health import Health, tenant_health
from portal.usage.selectors import TenantUsage, tenant_usage

register = template.Library()
KEPT_SECONDS = 15
"""Masked values are summed over a week of requests: not again for every click."""


@register.simple_tag(takes_context=True)
def tenant_tabs(context: dict[str, Any], tenant: Tenant) -> list[Tab]:
    return tabs_of(tenant, context["request"], OVERVIEW)


@register.simple_tag(takes_context=True)
def tenant_month(context: dict[str, Any], tenant: Tenant) -> TenantUsage | None:
    """The tenant's usage of this month so far; None for a reader who may not see requests."""
    if not context["request"].user.has_perm("usage.view_gatewayusage"):
        return None
    span, _ = month_to_date(clock.now())
    return tenant_usage(tenant, span.start, span.end)


@register.simple_tag(takes_context=True)
def tenant_day(context: dict[str, Any], tenant: Tenant) -> Health | None:
    """How it was served in the last 24 hours; None as above."""
    if not context["request"].user.has_perm("usage.view_gatewayusage"):
        return None
    name = f"tenant-health:{tenant.pk}"
    found: Health | None = cache.get(name)
    if found is None:
        found = tenant_health(tenant.pk, clock.now())
        cache.set(name, found, KEPT_SECONDS)
    return found


@register.simple_tag(takes_context=True)
def tenant_budget(context: dict[str, Any], tenant: Tenant) -> Gauge | None:
    """Spending against its limits, without temporary raises; None for who may not see money."""
    if not context["request"].user.has_perm("billing.view_ledgerentry"):
        return None
    now = clock.now()
    limits: dict[str, Any] = {one.name: one.value for one in effective_limits(tenant, tenant.tier)}
    return tenant_gauge(
        tenant.pk,
        tenant.billing_timezone,
        now,
        currency=currency_now(now),
        daily_limit=limits["daily_spend_limit"],
        monthly_limit=limits["monthly_spend_limit"],
    )


@register.filter
def wait(microseconds: float | None) -> str:
    return "none measured" if microseconds is None else latency(microseconds).text
