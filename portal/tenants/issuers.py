"""Token issuers: who signs JWTs for a tenant, with which keys."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from portal.snapshots.services import publish_after_commit
from portal.tenants.errors import TenantError
from portal.tenants.jwks import Allowed, fetch_jwks
from portal.tenants.models import App, Tenant, TokenIssuer
from portal.tenants.sealing import seal_secret
from portal.tenants.validators import SHARED_SECRET_ALGORITHMS

logger = logging.getLogger(__name__)

REFRESH_EVERY = timedelta(minutes=5)
SECRETS_KEPT = 2
"""The new one, and the one before it until the next rotation or ``forget_old_secret``."""
_DIGEST_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_CHANGEABLE = frozenset({
    *("app", "name", "issuer", "audience", "algorithms", "jwks", "jwks_url", "leeway_seconds"),
    *("max_age_seconds", "claim_tenant", "claim_app", "claim_models", "claim_budget", "claim_end_user"),
    *("requests_per_minute", "tokens_per_minute", "concurrency", "kv_budget_mib", "context_tokens"),
    *("daily_spend_limit", "monthly_spend_limit", "ip_ranges", "active"),
})  # fmt: skip


@transaction.atomic
def create_issuer(
    *,
    tenant: Tenant,
    app: App,
    name: str,
    issuer: str,
    audience: str,
    algorithms: Sequence[str],
    now: datetime,
    user: User | None,
    secret: str = "",
    **details: Any,
) -> TokenIssuer:
    """``secret`` is for HS256…512 and is kept sealed only; other algorithms have ``jwks`` or ``jwks_url``.

    Raises ``TenantError``, or ``ValidationError`` by field.
    """
    made = TokenIssuer(
        tenant=tenant,
        app=app,
        name=name,
        issuer=issuer,
        audience=audience,
        algorithms=list(algorithms),
        created_at=now,
        created_by=user,
    )
    _set(made, details)
    made.clean_fields()
    if secret:
        _put_secret(made, secret)
    _check(made)
    made.save(force_insert=True)
    publish_after_commit(tenant_id=tenant.pk)
    return made


@transaction.atomic
def change_issuer(issuer: TokenIssuer, /, **changes: Any) -> TokenIssuer:
    """Change some of its fields, ``issuer`` (iss) too; secrets have ``rotate_secret``.

    Raises as ``create_issuer``.
    """
    issuer = _locked(issuer)
    if "jwks_url" in changes and changes["jwks_url"] != issuer.jwks_url:
        issuer.jwks_checked_at = issuer.jwks_fetched_at = None
        issuer.jwks_error = ""
    _set(issuer, changes)
    _check(issuer)
    issuer.save()
    publish_after_commit(tenant_id=issuer.tenant_id)
    return issuer


@transaction.atomic
def rotate_secret(*, issuer: TokenIssuer, secret: str, keep_previous: bool = True) -> TokenIssuer:
    """Tokens signed with ``secret`` are taken; with the one before too, if ``keep_previous``."""
    issuer = _locked(issuer)
    if not keep_previous:
        issuer.sealed_secrets = []
    _put_secret(issuer, secret)
    issuer.save(update_fields=["sealed_secrets"])
    publish_after_commit(tenant_id=issuer.tenant_id)
    return issuer


@transaction.atomic
def forget_old_secrets(*, issuer: TokenIssuer) -> TokenIssuer:
    """Only the newest secret is taken from now on."""
    issuer = _locked(issuer)
    issuer.sealed_secrets = issuer.sealed_secrets[:1]
    issuer.save(update_fields=["sealed_secrets"])
    publish_after_commit(tenant_id=issuer.tenant_id)
    return issuer


@transaction.atomic
def delete_issuer(*, issuer: TokenIssuer) -> None:
    """Its tokens are refused from now on."""
    issuer.delete()
    publish_after_commit(tenant_id=issuer.tenant_id)


def refresh_jwks(*, issuer: TokenIssuer, now: datetime) -> TokenIssuer:
    """Read the public keys from the issuer's address; on failure the known ones stay and it says why.

    The address is asked outside of any transaction. Raises ``TenantError`` for an issuer without address.
    """
    if not issuer.jwks_url:
        message = "This issuer has no address to read keys from."
        raise TenantError(message, code="jwks_url_missing")
    try:
        keys = fetch_jwks(issuer.jwks_url, allowed=_allowed())
    except TenantError as error:
        logger.warning("the keys of issuer %s cannot be read: %s", issuer.pk, error.code)
        return _note(issuer, now, error=error.message)
    return _note(issuer, now, keys=keys)


def refresh_due_jwks(now: datetime) -> int:
    """Those that were not looked at for ``REFRESH_EVERY``; how many keys changed."""
    due = Q(jwks_checked_at__isnull=True) | Q(jwks_checked_at__lte=now - REFRESH_EVERY)
    changed = 0
    for issuer in TokenIssuer.objects.filter(due, active=True).exclude(jwks_url="").order_by("pk"):
        before = issuer.jwks
        changed += refresh_jwks(issuer=issuer, now=now).jwks != before
    return changed


def _allowed() -> Allowed:
    return Allowed(private=settings.ALLOW_PRIVATE_JWKS, http=settings.DEBUG)


@transaction.atomic
def _note(
    asked: TokenIssuer, now: datetime, *, keys: list[dict[str, Any]] | None = None, error: str = ""
) -> TokenIssuer:
    """What came of it, unless the address was changed meanwhile."""
    issuer = _locked(asked)
    if issuer.jwks_url != asked.jwks_url:
        return issuer
    changed = keys is not None and keys != issuer.jwks
    issuer.jwks_checked_at, issuer.jwks_error = now, error[:300]
    if keys is not None:
        issuer.jwks, issuer.jwks_fetched_at = keys, now
    issuer.save(update_fields=["jwks", "jwks_checked_at", "jwks_fetched_at", "jwks_error"])
    if changed:
        publish_after_commit(tenant_id=issuer.tenant_id)
    return issuer


def _locked(issuer: TokenIssuer) -> TokenIssuer:
    found = TokenIssuer.objects.select_for_update(of=("self",)).select_related("tenant", "app")
    return found.get(pk=issuer.pk)


def _set(issuer: TokenIssuer, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name not in _CHANGEABLE:
            message = f"{name} is no field of an issuer that can be set"
            raise TypeError(message)
        setattr(issuer, name, value)


def _check(issuer: TokenIssuer) -> None:
    issuer.full_clean()
    if issuer.app.tenant_id != issuer.tenant_id:
        message = f"This app belongs to another tenant. Choose one of {issuer.tenant.name}'s own."
        raise TenantError(message, code="issuer_foreign_app")
    shared = set(issuer.algorithms) <= set(SHARED_SECRET_ALGORITHMS)
    if shared and (issuer.jwks or issuer.jwks_url):
        message = "HS256…512 use a shared secret: leave the public keys and their address empty."
        raise TenantError(message, code="issuer_keys_mixed")
    if shared and not issuer.sealed_secrets:
        message = "HS256…512 need a shared secret."
        raise TenantError(message, code="issuer_secret_missing")
    if not shared and not (issuer.jwks or issuer.jwks_url):
        message = "Give the public keys, or the https address where they are."
        raise TenantError(message, code="issuer_keys_missing")


def _put_secret(issuer: TokenIssuer, secret: str) -> None:
    """In front of those it has. RFC 7518, 3.2: a secret at least as long as the digest."""
    if not set(issuer.algorithms) <= set(_DIGEST_BYTES):
        message = "This issuer signs with public keys: it has no shared secret."
        raise TenantError(message, code="issuer_keys_mixed")
    least = max(_DIGEST_BYTES[name] for name in issuer.algorithms)
    if len(secret.encode()) < least:
        message = f"A secret for {', '.join(issuer.algorithms)} has at least {least} bytes."
        raise TenantError(message, code="issuer_secret_short")
    sealed = seal_secret(secret, tenant_id=issuer.tenant_id)
    issuer.sealed_secrets = [sealed, *issuer.sealed_secrets][:SECRETS_KEPT]
