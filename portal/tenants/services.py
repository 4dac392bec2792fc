"""Every change to tenants, apps and keys. Each reaches the gateways after its commit."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction

from gateway_hooks.contract.api_keys import key_sha256, new_key
from portal.fleet.models import Pool
from portal.snapshots.services import publish_after_commit
from portal.tenants.errors import TenantError
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
    publish_after_commit()
    return tenant


@transaction.atomic
def create_app(*, tenant: Tenant, name: str) -> App:
    """Raises ``ValidationError``, for one when the tenant has an app of this name."""
    app = App(tenant=tenant, name=name)
    app.full_clean()
    app.save()
    return app


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
    publish_after_commit()


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
    """A new key of ``app``. Raises ``TenantError`` for an expiry in the past."""
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
    publish_after_commit()
    return IssuedKey(key, secret)


@transaction.atomic
def revoke_key(*, key: ApiKey, now: datetime) -> None:
    """The key is refused from now on, for good. A second call changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now)
    key.refresh_from_db(fields=["revoked_at"])
    publish_after_commit()


@transaction.atomic
def rotate_key(
    *, key: ApiKey, now: datetime, user: User | None, overlap: timedelta = ROTATION_OVERLAP
) -> IssuedKey:
    """A new key with the same limits and expiry; the old one works for ``overlap`` longer, never longer than
    it would have. Raises ``TenantError`` for a key that is revoked, expired or replaced already.
    """
    key = ApiKey.objects.select_for_update().select_related("app").get(pk=key.pk)
    _require_usable(key, now)
    if key.replaced_by_id:
        message = f"This key is replaced already, by {key.replaced_by}. Rotate that one."
        raise TenantError(message, code="key_replaced")
    issued = issue_key(
        app=key.app,
        now=now,
        user=user,
        name=key.name,
        expires_at=key.expires_at,
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        concurrency=key.concurrency,
        monthly_spend_limit=key.monthly_spend_limit,
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
