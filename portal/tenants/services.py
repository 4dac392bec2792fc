"""Every change to tenants, apps and keys. Each reaches the gateways after its commit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from gateway_hooks.contract.api_keys import key_sha256, new_key
from portal.fleet.models import Pool
from portal.snapshots.services import publish_after_commit
from portal.tenants.errors import TenantError
from portal.tenants.limits import NAMES
from portal.tenants.models import ApiKey, App, Tenant, TenantStatus
from portal.tiers.models import ServiceClass, Tier

ROTATION_OVERLAP = timedelta(hours=24)


@dataclass(frozen=True)
class IssuedKey:
    """A new key. ``secret`` is the whole text; it exists here and with whoever is shown it, nowhere else."""

    key: ApiKey
    secret: str

    def __repr__(self) -> str:  # never into a log or a traceback
        return f"IssuedKey({self.key.pk})"


@transaction.atomic
def create_tenant(
    *,
    name: str,
    slug: str,
    tier: Tier,
    pool: Pool,
    service_class: str = ServiceClass.SHARED,
    billing_timezone: str = "UTC",
    **details: object,
) -> Tenant:
    """Raises ``ValidationError`` with what is wrong by field."""
    tenant = Tenant(
        name=name,
        slug=slug,
        tier=tier,
        pool=pool,
        service_class=service_class,
        billing_timezone=billing_timezone,
        **details,
    )
    tenant.full_clean()
    tenant.save()
    publish_after_commit(tenant_id=tenant.pk)
    return tenant


@transaction.atomic
def create_app(*, tenant: Tenant, name: str, **limits: object) -> App:
    """Raises ``ValidationError``, for one when the tenant has an app of this name."""
    app = App(tenant=tenant, name=name, **limits)
    app.full_clean()
    app.save()
    publish_after_commit(tenant_id=tenant.pk)
    return app


@transaction.atomic
def set_app_limits(*, app: App, **limits: object) -> App:
    """Change some of ``limits.NAMES``; None lifts one. They hold over all the app's keys and tokens."""
    app = App.objects.select_for_update().get(pk=app.pk)
    _set_limits(app, limits)
    app.full_clean()
    app.save(update_fields=list(limits))
    publish_after_commit(tenant_id=app.tenant_id)
    return app


@transaction.atomic
def restrict_key(*, key: ApiKey, aliases: list[str] | None, ip_ranges: list[str]) -> ApiKey:
    """Which of the tenant's models the key may use (None: all), and from where (empty: anywhere).

    Raises ``ValidationError`` for what is no network, ``TenantError`` for models that the tenant has not.
    """
    key = ApiKey.objects.select_for_update(of=("self",)).select_related("app").get(pk=key.pk)
    key.aliases, key.ip_ranges = aliases, ip_ranges
    require_own_aliases(app=key.app, aliases=aliases)
    key.full_clean()
    key.save(update_fields=["aliases", "ip_ranges"])
    publish_after_commit(tenant_id=key.app.tenant_id)
    return key


def require_own_aliases(*, app: App, aliases: list[str] | None) -> None:
    """A mistyped name would be a model that the key never gets."""
    known = set(app.tenant.aliases.values_list("name", flat=True)) if aliases else set()
    if unknown := sorted(set(aliases or ()) - known):
        message = f"The tenant has no alias {', '.join(unknown)[:200]}."
        raise TenantError(message, code="alias_unknown")


def _set_limits(owner: App, limits: dict[str, object]) -> None:
    for name, value in limits.items():
        if name not in NAMES:
            message = f"{name} is no limit"
            raise TypeError(message)
        setattr(owner, name, value)


@transaction.atomic
def suspend(tenant: Tenant) -> None:
    """Every key of the tenant is refused from now on; nothing is lost."""
    _set_status(tenant, TenantStatus.SUSPENDED)


@transaction.atomic
def reactivate(tenant: Tenant) -> None:
    _set_status(tenant, TenantStatus.ACTIVE)


def _set_status(tenant: Tenant, status: TenantStatus) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(status=status)
    tenant.status = status
    publish_after_commit(tenant_id=tenant.pk)


@transaction.atomic
def issue_key(
    *,
    app: App,
    now: datetime,
    user: User | None,
    name: str = "",
    expires_at: datetime | None = None,
    **limits: object,
) -> IssuedKey:
    """A new key of ``app``; ``limits`` may hold ``aliases`` and ``ip_ranges`` too.

    Raises ``TenantError`` for an expiry in the past or models that the tenant has not.
    """
    aliases: Any = limits.get("aliases")
    require_own_aliases(app=app, aliases=aliases)
    return _issue(app=app, now=now, user=user, name=name, expires_at=expires_at, limits=limits)


def _issue(
    *,
    app: App,
    now: datetime,
    user: User | None,
    name: str,
    expires_at: datetime | None,
    limits: Mapping[str, Any],
) -> IssuedKey:
    if expires_at is not None and expires_at <= now:
        message = "The key would be expired at once: choose a later moment, or none."
        raise TenantError(message, code="expiry_in_the_past")
    key_id, secret = new_key()
    key = ApiKey(
        id=key_id,
        sha256=key_sha256(secret),
        app=app,
        name=name,
        created_at=now,
        created_by=user,
        expires_at=expires_at,
        **limits,
    )
    key.full_clean()
    key.save(force_insert=True)
    publish_after_commit(tenant_id=app.tenant_id)
    return IssuedKey(key, secret)


@transaction.atomic
def revoke_key(*, key: ApiKey, now: datetime) -> None:
    """The key is refused from now on, for good. A second call changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now)
    key.refresh_from_db(fields=["revoked_at"])
    publish_after_commit(tenant_id=key.app.tenant_id)


@transaction.atomic
def rotate_key(
    *, key: ApiKey, now: datetime, user: User | None, overlap: timedelta = ROTATION_OVERLAP
) -> IssuedKey:
    """A new key with the same limits, restrictions and expiry; the old one works for ``overlap`` longer,
    never longer than it would have.

    Raises ``TenantError`` for a key that is revoked, expired or replaced already.
    """
    key = ApiKey.objects.select_for_update().select_related("app").get(pk=key.pk)
    _require_usable(key, now)
    if key.replaced_by_id:
        message = f"This key is replaced already, by {key.replaced_by}. Rotate that one."
        raise TenantError(message, code="key_replaced")
    kept = ("aliases", "ip_ranges", *NAMES)
    issued = _issue(
        app=key.app,
        now=now,
        user=user,
        name=key.name,
        expires_at=key.expires_at,
        limits={field: getattr(key, field) for field in kept},
    )
    end = now + overlap
    key.expires_at = min(key.expires_at, end) if key.expires_at else end
    key.replaced_by = issued.key
    key.save(update_fields=["expires_at", "replaced_by"])
    return issued


def _require_usable(key: ApiKey, now: datetime) -> None:
    if key.revoked_at is not None:
        message = "This key is revoked. Create a new one for the app."
        raise TenantError(message, code="key_revoked")
    if key.expires_at is not None and key.expires_at <= now:
        message = "This key is expired. Create a new one for the app."
        raise TenantError(message, code="key_expired")
