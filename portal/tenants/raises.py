"""Temporary raises of a tenant's limits. A row is ended, never changed: the rows are the audit."""

from datetime import datetime
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction

from portal.snapshots.services import publish_after_commit
from portal.tenants.errors import TenantError
from portal.tenants.limits import MONEY, effective_limits
from portal.tenants.models import LimitRaise, Tenant

LARGEST_COUNT = 2**31 - 1


@transaction.atomic
def raise_limit(
    *,
    tenant: Tenant,
    limit: str,
    value: Decimal | int,
    until: datetime,
    reason: str,
    now: datetime,
    user: User | None,
    starts_at: datetime | None = None,
) -> LimitRaise:
    """``limit`` (of ``RaisableLimit``) is ``value`` in ``[starts_at or now, until)``.

    Raises ``TenantError``, or ``ValidationError`` for what the fields themselves do not take.
    """
    tenant = Tenant.objects.select_for_update(of=("self",)).select_related("tier").get(pk=tenant.pk)
    raised = LimitRaise(
        tenant=tenant,
        limit=limit,
        value=Decimal(value),
        starts_at=starts_at or now,
        until=until,
        reason=reason,
        created_at=now,
        created_by=user,
    )
    raised.clean_fields()
    _require_ahead(raised, now)
    _require_higher(raised)
    _require_alone(raised)
    raised.save(force_insert=True)
    publish_after_commit(tenant_id=tenant.pk)
    return raised


@transaction.atomic
def end_raise(*, raised: LimitRaise, now: datetime, user: User | None) -> None:
    """The usual limit holds again from now on. Raises ``TenantError`` for one that is over already."""
    open_rows = LimitRaise.objects.filter(pk=raised.pk, ended_early_at__isnull=True, until__gt=now)
    if not open_rows.update(ended_early_at=now, ended_by=user):
        message = "This raise is over already."
        raise TenantError(message, code="raise_over")
    raised.refresh_from_db(fields=["ended_early_at", "ended_by"])
    publish_after_commit(tenant_id=raised.tenant_id)


def _require_ahead(raised: LimitRaise, now: datetime) -> None:
    if raised.starts_at < now or raised.until <= raised.starts_at:
        message = "A raise begins now or later, and ends after it began."
        raise TenantError(message, code="raise_in_the_past")


def _require_higher(raised: LimitRaise) -> None:
    """A raise of what is not limited would limit it."""
    whole = raised.value == int(raised.value) and raised.value <= LARGEST_COUNT
    if raised.limit not in MONEY and not whole:
        message = f"This limit is a whole number, at most {LARGEST_COUNT:,}."
        raise TenantError(message, code="raise_not_whole")
    limits = {one.name: one.value for one in effective_limits(raised.tenant, raised.tenant.tier)}
    usual = limits[raised.limit]
    if usual is None:
        message = "This is not limited: there is nothing to raise."
        raise TenantError(message, code="raise_without_limit")
    if raised.value <= usual:
        message = f"The limit is {usual:,} already: give a higher value."
        raise TenantError(message, code="raise_not_higher")


def _require_alone(raised: LimitRaise) -> None:
    others = LimitRaise.objects.filter(
        tenant=raised.tenant,
        limit=raised.limit,
        ended_early_at__isnull=True,
        starts_at__lt=raised.until,
        until__gt=raised.starts_at,
    )
    if other := others.first():
        message = (
            f"This limit is raised already until {other.until:%Y-%m-%d %H:%M} UTC. End that raise first."
        )
        raise TenantError(message, code="raise_overlaps")
