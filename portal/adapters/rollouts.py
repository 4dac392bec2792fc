"""Which versions an alias serves besides its own: canary, shadow, beta, fallback; and the stable track."""

from decimal import Decimal
from typing import Any

from django.db import transaction

from portal.adapters.errors import AdapterError
from portal.adapters.models import Adapter, AdapterVersion, Alias, Track
from portal.adapters.services import put_rollout, require_fits, require_fitting
from portal.snapshots.services import publish_after_commit


@transaction.atomic
def set_stable_version(*, adapter: Adapter, version: AdapterVersion | None) -> list[Alias]:
    """The aliases that follow ``adapter`` serve ``version`` from now on; which they are.

    Raises ``AdapterError`` if one of their pools cannot serve it, or if some follow and it is None.
    """
    adapter = Adapter.objects.select_for_update().get(pk=adapter.pk)
    if version is not None and version.adapter_id != adapter.pk:
        message = f"This version is not one of {adapter}."
        raise AdapterError(message, code="stable_foreign_version")
    following = list(followers(adapter))
    if version is None and following:
        names = ", ".join(alias.name for alias in following)
        message = f"These aliases follow the stable version: {names}. Pin them first."
        raise AdapterError(message, code="stable_in_use")
    for alias in following:
        require_fits(tenant=alias.tenant, version=version, pool=alias.pool)
    adapter.stable_version = version
    adapter.save(update_fields=["stable_version"])
    Alias.objects.filter(pk__in=[alias.pk for alias in following]).update(version=version)
    publish_after_commit(tenant_id=adapter.tenant_id)
    return following


def followers(adapter: Adapter) -> "Any":
    """Aliases that serve whatever is the adapter's stable version."""
    followed = Alias.objects.filter(track=Track.STABLE, version__adapter=adapter)
    return followed.select_related("tenant__pool", "pool").order_by("pk")


@transaction.atomic
def set_rollout(*, alias: Alias, **changes: Any) -> Alias:
    """Change some of ``ROLLOUT_FIELDS``; the others stay.

    A share without a version, or a version that the alias' pool cannot serve, is an ``AdapterError``.
    """
    alias = (
        Alias.objects.select_for_update(of=("self",)).select_related("tenant__pool", "pool").get(pk=alias.pk)
    )
    put_rollout(alias, changes)
    require_fitting(alias)
    alias.full_clean()
    alias.save(update_fields=list(changes) or None)
    publish_after_commit(tenant_id=alias.tenant_id)
    return alias


@transaction.atomic
def promote_canary(*, alias: Alias) -> Alias:
    """The canary becomes the alias' own version, and the old one its fallback."""
    alias = (
        Alias.objects.select_for_update(of=("self",)).select_related("tenant__pool", "pool").get(pk=alias.pk)
    )
    if alias.canary_version is None:
        message = "The alias has no canary to promote."
        raise AdapterError(message, code="canary_missing")
    if alias.track == Track.STABLE:
        message = "The alias follows its adapter's stable version: set that one."
        raise AdapterError(message, code="alias_follows_stable")
    alias.fallback_version, alias.version = alias.version, alias.canary_version
    alias.canary_version, alias.canary_percent = None, Decimal(0)
    alias.full_clean()
    alias.save()
    publish_after_commit(tenant_id=alias.tenant_id)
    return alias
