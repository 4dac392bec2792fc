"""A tenant's configuration in versions: one draft, one published, and all that were published before.

Published content never changes (the database refuses it too); a roll back publishes a copy as a new
version, so that numbers only rise.
"""

import json
from datetime import datetime
from hashlib import sha256
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max

from gateway_hooks.configuration import Change, diff
from gateway_hooks.contract.pii import PiiPolicy
from gateway_hooks.contract.snapshot import Configuration
from portal.snapshots.services import publish_after_commit
from portal.tenants.errors import TenantError
from portal.tenants.models import ConfigurationState, Tenant, TenantConfiguration
from portal.tenants.validators import configuration_of
from portal.tiers.validators import policy_of


def published(tenant: Tenant) -> TenantConfiguration | None:
    return TenantConfiguration.objects.filter(tenant=tenant, state=ConfigurationState.PUBLISHED).first()


def draft_of(tenant: Tenant) -> TenantConfiguration | None:
    return TenantConfiguration.objects.filter(tenant=tenant, state=ConfigurationState.DRAFT).first()


def changes(
    old: TenantConfiguration | None, new: TenantConfiguration | None, *, tier_policy: Any = None
) -> list[Change]:
    """By field, for people; ``pii.…`` are those of the policy in force, which may be the tier's."""
    before, after = (_parts(one, tier_policy) for one in (old, new))
    policy = diff(before[1], after[1])
    return [*diff(before[0], after[0]), *(change._replace(field=f"pii.{change.field}") for change in policy)]


def _parts(
    one: TenantConfiguration | None, tier_policy: Any
) -> tuple[Configuration | None, PiiPolicy | None]:
    content = one.content if one else {}
    raw = content.get("pii", tier_policy)
    return (
        configuration_of(content, version=one.number) if one else None,
        None if raw is None else policy_of(raw),
    )


def state_digest(*configurations: TenantConfiguration | None) -> str:
    """Says whether what somebody looked at is still so."""
    seen = [one and [one.number, one.content, one.note] for one in configurations]
    return sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


@transaction.atomic
def save_draft(
    *,
    tenant: Tenant,
    content: dict[str, Any],
    now: datetime,
    user: User | None,
    note: str = "",
    seen: str | None = None,
) -> TenantConfiguration:
    """The tenant's draft, made if there is none, holds ``content`` now.

    ``seen``: the ``state_digest`` of the draft that was edited. Raises ``ValidationError``, or
    ``TenantError`` ``draft_changed`` where it is another by now.
    """
    _lock(tenant)
    before = draft_of(tenant)
    if seen is not None and seen != state_digest(before):
        message = "Somebody else changed this draft meanwhile, so yours was not saved."
        raise TenantError(message, code="draft_changed")
    draft = before or TenantConfiguration(tenant=tenant, number=_next_number(tenant))
    draft.content, draft.note, draft.created_at, draft.created_by = content, note, now, user
    draft.full_clean()
    draft.save()
    return draft


@transaction.atomic
def discard_draft(*, draft: TenantConfiguration) -> None:
    require_draft(_locked(draft))
    draft.delete()


@transaction.atomic
def publish(
    *, draft: TenantConfiguration, now: datetime, user: User | None, seen: str | None = None
) -> TenantConfiguration:
    """Gateways take it from now on. Raises ``TenantError`` unless it is a draft.

    ``seen``: the ``state_digest`` of what was in force and of the draft, as they were looked at; if either is
    another by now, ``TenantError`` ``draft_changed``.
    """
    draft = _locked(draft)
    require_draft(draft)
    if seen is not None and seen != state_digest(published(draft.tenant), draft):
        message = "The draft, or what is in force, changed after this page was shown. Look at it again."
        raise TenantError(message, code="draft_changed")
    if draft.number <= _last_published_number(draft.tenant):
        draft.number = _next_number(draft.tenant)
    _put_in_force(draft, now, user)
    return draft


@transaction.atomic
def roll_back(
    *, to: TenantConfiguration, now: datetime, user: User | None, note: str = ""
) -> TenantConfiguration:
    """Publish a copy of ``to``, an earlier version, as the newest. Raises ``TenantError``."""
    to = _locked(to)
    if to.state != ConfigurationState.SUPERSEDED:
        message = "Roll back to a version that was published before and is not in force."
        raise TenantError(message, code="configuration_not_superseded")
    copy = TenantConfiguration(
        tenant=to.tenant,
        number=_next_number(to.tenant),
        content=to.content,
        note=note or f"As version {to.number}",
        restores=to,
        created_at=now,
        created_by=user,
    )
    _put_in_force(copy, now, user)
    return copy


def _put_in_force(configuration: TenantConfiguration, now: datetime, user: User | None) -> None:
    TenantConfiguration.objects.filter(
        tenant=configuration.tenant, state=ConfigurationState.PUBLISHED
    ).update(state=ConfigurationState.SUPERSEDED)
    configuration.state = ConfigurationState.PUBLISHED
    configuration.published_at, configuration.published_by = now, user
    configuration.full_clean()  # what was fine when it was saved may not be so any more
    configuration.save()
    publish_after_commit(tenant_id=configuration.tenant_id)


def _lock(tenant: Tenant) -> None:
    """One editor at a time: numbers are given one by one."""
    Tenant.objects.select_for_update().only("pk").get(pk=tenant.pk)


def _locked(configuration: TenantConfiguration) -> TenantConfiguration:
    _lock(configuration.tenant)
    return TenantConfiguration.objects.select_related("tenant").get(pk=configuration.pk)


def require_draft(configuration: TenantConfiguration) -> None:
    """Raises ``TenantError`` for a version that was published."""
    if configuration.state != ConfigurationState.DRAFT:
        message = f"Version {configuration.number} was published and never changes. Make a new draft."
        raise TenantError(message, code="configuration_published")


def _next_number(tenant: Tenant) -> int:
    return (tenant.configurations.aggregate(last=Max("number"))["last"] or 0) + 1


def _last_published_number(tenant: Tenant) -> int:
    earlier = tenant.configurations.exclude(state=ConfigurationState.DRAFT)
    return earlier.aggregate(last=Max("number"))["last"] or 0
