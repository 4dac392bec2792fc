"""Whose part of the configuration a row is in."""

from uuid import UUID

from django.db.models import Model

from portal.adapters.models import Adapter, Alias
from portal.tenants.models import ApiKey, App, LimitRaise, Tenant, TenantConfiguration, TokenIssuer

_OWNED = (Adapter, Alias, App, LimitRaise, TenantConfiguration, TokenIssuer)


def tenant_touched(row: Model) -> UUID | None:
    """The only tenant that a change of ``row`` touches; None: it may touch all."""
    if isinstance(row, Tenant):
        return row.pk
    if isinstance(row, ApiKey):
        return row.app.tenant_id
    return row.tenant_id if isinstance(row, _OWNED) else None
