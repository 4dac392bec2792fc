"""The tenant's own pages: what they share, above all the row of tabs that keeps the tenant."""

from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from portal.core.pages import show
from portal.tenants.models import Tenant

OVERVIEW, LIMITS, CONFIGURATION, TOKENS = "Overview", "Limits", "Configuration", "Token issuers"


class Tab(NamedTuple):
    title: str
    link: str
    active: bool


_TABS = (
    (OVERVIEW, "tenants_tenant_change", "tenants.view_tenant"),
    (LIMITS, "tenants_tenant_limits", "tenants.view_tenant"),
    (CONFIGURATION, "tenants_tenant_configuration", "tenants.view_tenantconfiguration"),
)


def tabs_of(tenant: Tenant, request: HttpRequest, active: str) -> list[Tab]:
    """Only what the reader may open."""
    found = [
        Tab(title, reverse(f"admin:{name}", args=[tenant.pk]), title == active)
        for title, name, permission in _TABS
        if request.user.has_perm(permission)
    ]
    if request.user.has_perm("tenants.view_tokenissuer"):
        issuers = reverse("admin:tenants_tokenissuer_changelist")
        found.append(Tab(TOKENS, f"{issuers}?tenant__id__exact={tenant.pk}", active == TOKENS))
    return found


def tenant_for(request: HttpRequest, pk: UUID, permission: str = "tenants.view_tenant") -> Tenant:
    """The page's tenant. Raises ``PermissionDenied``, or ``Http404``."""
    if not request.user.has_perm(permission):
        raise PermissionDenied
    return get_object_or_404(Tenant.objects.select_related("tier", "pool"), pk=pk)


def show_tab(
    admin: "ModelAdmin[Any]",
    request: HttpRequest,
    tenant: Tenant,
    active: str,
    template: str,
    content: dict[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    """One of the tabs; ``content`` reaches its template."""
    shared = {"tenant": tenant, "tabs": tabs_of(tenant, request, active)}
    return show(admin, request, template, f"{tenant.name}: {active}", shared | content, status=status)
