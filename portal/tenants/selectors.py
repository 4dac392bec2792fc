"""Reads for the console and the API."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db.models import Count, Q, QuerySet

from portal.tenants.models import ApiKey, Tenant

KeyState = Literal["active", "expires soon", "expired", "revoked"]


def usable(now: datetime, prefix: str = "") -> Q:
    """Keys that gateways take at ``now``; ``prefix`` leads to the key from another model."""
    alive = Q(**{f"{prefix}expires_at__isnull": True}) | Q(**{f"{prefix}expires_at__gt": now})
    return Q(**{f"{prefix}revoked_at__isnull": True}) & alive


def coming(now: datetime) -> Q:
    """Temporary raises that are in force at ``now`` or will be."""
    return Q(ended_early_at__isnull=True, until__gt=now)


def key_state(key: ApiKey, now: datetime) -> KeyState:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "active"
    return "expired" if key.expires_at <= now else "expires soon" if key.replaced_by_id else "active"


@dataclass(frozen=True)
class Reach:
    """What a tenant's suspension stops."""

    apps: int
    keys: int


def reach(*, tenant: Tenant, now: datetime) -> Reach:
    keys = ApiKey.objects.filter(usable(now), app__tenant=tenant)
    found = keys.aggregate(apps=Count("app", distinct=True), keys=Count("pk"))
    return Reach(apps=found["apps"], keys=found["keys"])


def tenants_with_counts(now: datetime) -> QuerySet[Tenant]:
    """Tenants with ``usable_keys``, in one query."""
    return Tenant.objects.select_related("tier", "pool").annotate(
        usable_keys=Count("apps__keys", filter=usable(now, "apps__keys__"))
    )


def other_usable_keys(*, key: ApiKey, now: datetime) -> int:
    """How many keys its app keeps when ``key`` is revoked."""
    return ApiKey.objects.filter(usable(now), app_id=key.app_id).exclude(pk=key.pk).count()
