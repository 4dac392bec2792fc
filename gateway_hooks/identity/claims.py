"""Verified claims -> caller, within the issuer's own tenant."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_hooks.contract.snapshot import ApiKey, App, Issuer, Tenant
from gateway_hooks.identity.caller import Caller
from gateway_hooks.identity.end_user import MAX_NAME_LENGTH, hash_end_user
from gateway_hooks.identity.tokens import refused

MAX_BUDGET_MICRO = 1 << 53
"""Redis' scripts count in doubles; up to here they are exact."""


def key_of(issuer: Issuer, app_id: str) -> ApiKey:
    """What stands for all tokens of an issuer where a key is expected; no text has its digest."""
    return ApiKey(
        id=f"jwt-{issuer.id}",
        sha256="",
        tenant_id=issuer.tenant_id,
        app_id=app_id,
        limits=issuer.limits,
        ip_ranges=issuer.ip_ranges,
    )


def caller_of(
    claims: Mapping[str, Any], issuer: Issuer, tenant: Tenant, apps: Mapping[str, App], *, salt_secret: bytes
) -> Caller:
    """``apps`` are the tenant's own, by id and by name. Raises ``GatewayError``.

    A claim for app, models or budget that is absent leaves what holds without it; one that is there must fit.
    """
    names = issuer.claims
    if names.tenant and claims.get(names.tenant) not in (tenant.id, tenant.slug):
        raise refused(names.tenant, "does not name this account")
    app_id = _app_id(claims, issuer, apps)
    budget = _budget(claims, names.budget)
    subject = _text(claims, "sub")
    if budget is not None and subject is None:
        name = "sub"
        raise refused(name, "is missing, and a budget needs it")
    end_user = _text(claims, names.end_user) if names.end_user else None

    def hashed(name: str | None) -> str | None:
        return None if name is None else hash_end_user(salt_secret, tenant_id=tenant.id, name=name)

    return Caller(
        tenant,
        key_of(issuer, app_id),
        app=apps.get(app_id),
        issuer=issuer,
        aliases=_aliases(claims, names.models, tenant),
        end_user=hashed(end_user),
        subject=hashed(subject),
        budget_micro=budget,
    )


def _app_id(claims: Mapping[str, Any], issuer: Issuer, apps: Mapping[str, App]) -> str:
    name = issuer.claims.app
    if not name or claims.get(name) is None:
        return issuer.app_id
    claimed = claims[name]
    app = apps.get(claimed) if isinstance(claimed, str) else None
    if app is None:
        raise refused(name, "names no app of this account")
    return app.id


def _aliases(claims: Mapping[str, Any], name: str, tenant: Tenant) -> frozenset[str] | None:
    if not name or claims.get(name) is None:
        return None
    try:
        return msgspec.convert(claims[name], frozenset[str]) & tenant.aliases.keys()
    except msgspec.ValidationError as error:
        raise refused(name, "is no list of names") from error


def _budget(claims: Mapping[str, Any], name: str) -> int | None:
    if not name or claims.get(name) is None:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_BUDGET_MICRO:
        raise refused(name, f"is no positive integer up to {MAX_BUDGET_MICRO}")
    return value


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_NAME_LENGTH:
        raise refused(name, f"is no text of at most {MAX_NAME_LENGTH} characters")
    return value
