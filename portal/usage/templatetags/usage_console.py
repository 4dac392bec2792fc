"""Usage on the pages of other domains."""

from typing import Any

from django import template

from portal.core import clock
from portal.core.windows import month_to_date
from portal.tenants.models import Tenant
from portal.usage.selectors import TenantUsage, tenant_usage

register = template.Library()


@register.simple_tag(takes_context=True)
def tenant_month(context: dict[str, Any], tenant: Tenant) -> TenantUsage | None:
    """The tenant's usage of this month so far; None for a reader who may not see requests."""
    if not context["request"].user.has_perm("usage.view_gatewayusage"):
        return None
    span, _ = month_to_date(clock.now())
    return tenant_usage(tenant, span.start, span.end)
