"""Who may ask, as gateways read it: apps, usable keys and token issuers."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from gateway_hooks.contract import snapshot as contract
from portal.snapshots.scope import Only, of_tenants
from portal.tenants.limits import NAMES, own_limits
from portal.tenants.models import ApiKey, App, TokenIssuer
from portal.tenants.selectors import usable


def apps(only: Only) -> Iterator[contract.App]:
    rows = of_tenants(App.objects.order_by(), "tenant", only).values_list(
        "id", "tenant_id", "name", *NAMES, named=True
    )
    for row in rows:
        app: Any = row
        yield contract.App(
            id=str(app.id), tenant_id=str(app.tenant_id), name=app.name, limits=own_limits(app)
        )


def keys(now: datetime, only: Only) -> Iterator[contract.ApiKey]:
    fields = ("id", "sha256", "expires_at", "app_id", "app__tenant_id", "aliases", "ip_ranges", *NAMES)
    usable_keys = of_tenants(ApiKey.objects.filter(usable(now)).order_by(), "app__tenant", only)
    for row in usable_keys.values_list(*fields, named=True):
        key: Any = row
        yield contract.ApiKey(
            id=key.id,
            sha256=key.sha256,
            tenant_id=str(key.app__tenant_id),
            app_id=str(key.app_id),
            limits=own_limits(key),
            expires_at=key.expires_at,
            aliases=None if key.aliases is None else tuple(key.aliases),
            ip_ranges=tuple(key.ip_ranges),
        )


def issuers(only: Only) -> Iterator[contract.Issuer]:
    """Only active ones: a switched-off issuer's tokens are unknown at once."""
    active = of_tenants(TokenIssuer.objects.filter(active=True).order_by(), "tenant", only)
    for issuer in active.iterator():
        yield contract.Issuer(
            id=str(issuer.pk),
            tenant_id=str(issuer.tenant_id),
            app_id=str(issuer.app_id),
            issuer=issuer.issuer,
            audience=issuer.audience,
            algorithms=tuple(issuer.algorithms),
            jwks=tuple(issuer.jwks),
            sealed_secrets=tuple(issuer.sealed_secrets),
            leeway_seconds=issuer.leeway_seconds,
            max_age_seconds=issuer.max_age_seconds,
            claims=_claims(issuer),
            limits=own_limits(issuer),
            ip_ranges=tuple(issuer.ip_ranges),
        )


def _claims(issuer: TokenIssuer) -> contract.Claims:
    return contract.Claims(
        tenant=issuer.claim_tenant,
        app=issuer.claim_app,
        models=issuer.claim_models,
        budget=issuer.claim_budget,
        end_user=issuer.claim_end_user,
    )
