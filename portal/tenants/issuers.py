"""Token issuers: who signs JWTs for a tenant, with which keys."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models import ExpressionWrapper, F, Q, Value
from django.db.models.lookups import LessThanOrEqual

from portal.snapshots.services import publish_after_commit
from portal.tenants.errors import TenantError
from portal.tenants.jwks import Allowed, fetch_jwks
from portal.tenants.models import App, Tenant, TokenIssuer
from portal.tenants.sealing import open_secrets, seal_secret
from portal.tenants.validators import SHARED_SECRET_ALGORITHMS

logger = logging.getLogger(__name__)

REFRESH_EVERY = timedelta(minutes=5)
REFRESH_AT_LEAST_EVERY = timedelta(hours=1)
REFRESH_UNANSWERED_EVERY = timedelta(minutes=15)
REFRESH_SECONDS = 20.0
"""Of one run. Beyond it, the address that is being asked takes its own seconds (``jwks``)."""
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

    With another address the keys of the one before are gone. Raises as ``create_issuer``.
    """
    issuer = _locked(issuer)
    address = changes.get("jwks_url", issuer.jwks_url)
    if address and changes.get("jwks", issuer.jwks) != issuer.jwks:
        message = "The public keys are read from the address: leave one of the two empty."
        raise TenantError(message, code="issuer_keys_fetched")
    if address != issuer.jwks_url:
        if changes.get("jwks", issuer.jwks) == issuer.jwks:
            changes["jwks"] = []
        issuer.jwks_checked_at = issuer.jwks_fetched_at = None
        issuer.jwks_error = ""
    if set(changes.get("algorithms", ())) - set(issuer.algorithms):
        _require_long_secrets(issuer, changes["algorithms"])
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


def refresh_due_jwks(now: datetime, *, elapsed: Callable[[], float] = monotonic) -> int:
    """Of those that are due, as many as ``REFRESH_SECONDS`` allow; how many keys changed.

    Each is claimed by noting ``now`` before its address is asked: runs beside each other share the work.
    """
    until = elapsed() + REFRESH_SECONDS
    changed = 0
    while elapsed() < until and (issuer := _claim_due(now)):
        before = issuer.jwks
        changed += refresh_jwks(issuer=issuer, now=now).jwks != before
    return changed


@transaction.atomic
def _claim_due(now: datetime) -> TokenIssuer | None:
    """The one that waited longest."""
    waiting = TokenIssuer.objects.filter(_due(now), active=True).exclude(jwks_url="")
    waiting = waiting.select_for_update(of=("self",), skip_locked=True)
    issuer = waiting.order_by(F("jwks_checked_at").asc(nulls_first=True), "pk").first()
    if issuer:
        issuer.jwks_checked_at = now
        issuer.save(update_fields=["jwks_checked_at"])
    return issuer


def _due(now: datetime) -> Q:
    """After a failure it waits for as long as its keys were old then, within bounds."""
    checked = "jwks_checked_at"
    answered = Q(jwks_error="")
    old = ExpressionWrapper(F(checked) + (F(checked) - F("jwks_fetched_at")), models.DateTimeField())
    failed = Q(jwks_fetched_at__isnull=True, jwks_checked_at__lte=now - REFRESH_UNANSWERED_EVERY)
    failed |= Q(LessThanOrEqual(old, Value(now))) | Q(jwks_checked_at__lte=now - REFRESH_AT_LEAST_EVERY)
    return Q(jwks_checked_at__isnull=True) | Q(jwks_checked_at__lte=now - REFRESH_EVERY) & (answered | failed)


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


def _require_long_secrets(issuer: TokenIssuer, algorithms: Sequence[str]) -> None:
    """All that are taken, the previous one too: RFC 7518, 3.2."""
    least = max((_DIGEST_BYTES.get(name, 0) for name in algorithms), default=0)
    secrets = open_secrets(issuer.sealed_secrets, tenant_id=issuer.tenant_id) if least else []
    if any(len(secret.encode()) < least for secret in secrets):
        message = (
            f"A secret for {', '.join(algorithms)} has at least {least} bytes, and this issuer takes a "
            "shorter one. Rotate to a longer one first, without keeping the previous."
        )
        raise TenantError(message, code="issuer_secret_short")


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
