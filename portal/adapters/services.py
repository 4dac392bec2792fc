"""Every change to adapters and aliases."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max

from gateway_hooks.contract.artifacts import CONFIG_FILE, WEIGHTS_FILE
from portal.adapters.architecture import read_base_model
from portal.adapters.checks import MAX_CONFIG_BYTES, Findings, Serving, check_adapter
from portal.adapters.conf import AdapterSettings, read_settings
from portal.adapters.errors import AdapterError
from portal.adapters.models import (
    ROLLOUT_FIELDS,
    VERSION_FIELDS,
    Adapter,
    AdapterVersion,
    Alias,
    Track,
)
from portal.adapters.sources import Source
from portal.adapters.store import Store
from portal.fleet.models import Pool
from portal.snapshots.services import publish_after_commit
from portal.tenants.models import Tenant


@transaction.atomic
def create_adapter(*, tenant: Tenant, name: str, description: str = "") -> Adapter:
    """Raises ``ValidationError``, for one when the tenant has an adapter of this name."""
    adapter = Adapter(tenant=tenant, name=name, description=description)
    adapter.full_clean()
    adapter.save()
    return adapter


def register_version(
    *,
    adapter: Adapter,
    source: Source,
    user: User | None,
    now: datetime,
    note: str = "",
    pool: Pool | None = None,
    settings: AdapterSettings | None = None,
) -> AdapterVersion:
    """Check the artifact against ``pool`` (default: the tenant's), store it, and record the next version.

    Raises ``AdapterError`` with the first broken rule; then nothing is stored or recorded. What is checked
    is the copy in the store's own staging folder, so nobody can change it in between.
    """
    settings = settings or read_settings()
    store = Store(settings.store)
    store.sweep(now)
    pool = pool or adapter.tenant.pool
    with store.staging() as staged:
        source.write_to(staged, max_bytes=settings.max_bytes)
        size = sum((staged / name).stat().st_size for name in (CONFIG_FILE, WEIGHTS_FILE))
        findings = _check(staged, pool)
        digest = store.keep(staged)
    return _record(
        adapter, digest=digest, size=size, findings=findings, pool=pool, user=user, now=now, note=note
    )


def _check(folder: Path, pool: Pool) -> Findings:
    config, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    if config.stat().st_size > MAX_CONFIG_BYTES:
        message = "adapter_config.json is larger than 1 MiB, so it is no PEFT configuration."
        raise AdapterError(message, code="adapter_config_invalid")
    with weights.open("rb") as file:
        return check_adapter(
            config=config.read_bytes(),
            weights=file,
            weights_size=weights.stat().st_size,
            serving=serving_of(pool),
        )


def serving_of(pool: Pool) -> Serving:
    return Serving(
        pool=pool.name,
        names=(pool.base_model, pool.model),
        max_rank=pool.max_lora_rank,
        base=read_base_model(pool.model),
    )


@transaction.atomic
def _record(
    adapter: Adapter,
    *,
    digest: str,
    size: int,
    findings: Findings,
    pool: Pool,
    user: User | None,
    now: datetime,
    note: str,
) -> AdapterVersion:
    Adapter.objects.select_for_update().get(pk=adapter.pk)  # numbers are given one at a time
    if same := adapter.versions.filter(digest=digest, base_model=pool.base_model).first():
        message = f"These files are version {same.number} already. Nothing was added."
        raise AdapterError(message, code="adapter_version_exists")
    last = adapter.versions.aggregate(last=Max("number"))["last"] or 0
    return AdapterVersion.objects.create(
        adapter=adapter,
        number=last + 1,
        digest=digest,
        size_bytes=size,
        rank=findings.rank,
        target_modules=list(findings.target_modules),
        base_model=pool.base_model,
        dtype=findings.dtype,
        checks=list(findings.checks),
        note=note,
        created_at=now,
        created_by=user,
    )


@transaction.atomic
def set_alias(
    *,
    tenant: Tenant,
    name: str,
    version: AdapterVersion | None,
    pool: Pool | None = None,
    track: str = Track.PINNED,
    rollout: Mapping[str, Any] | None = None,
) -> Alias:
    """Point the tenant's alias (made if new) to a version of its own, or to the base model.

    On the stable track it serves the stable version of ``version``'s adapter, now and later. ``rollout``
    changes some of ``ROLLOUT_FIELDS``. Raises ``AdapterError``, or ``ValidationError`` for the name.
    """
    if track == Track.STABLE:
        version = stable_of(version)
    require_fits(tenant=tenant, version=version, pool=pool)
    alias = Alias.objects.filter(tenant=tenant, name=name).first() or Alias(tenant=tenant, name=name)
    alias.version, alias.pool, alias.track = version, pool, track
    put_rollout(alias, rollout or {})
    require_fitting(alias)
    alias.full_clean()
    alias.save()
    publish_after_commit(tenant_id=tenant.pk)
    return alias


def stable_of(version: AdapterVersion | None) -> AdapterVersion:
    """The stable version of the same adapter, which stays so until the running transaction ends.

    Raises ``AdapterError`` if there is none to follow.
    """
    if version is None:
        message = "The base model has no stable version: choose a version of the adapter to follow."
        raise AdapterError(message, code="alias_follows_nothing")
    adapter = Adapter.objects.select_for_update().get(pk=version.adapter_id)
    stable = adapter.stable_version
    if stable is None:
        message = f"{adapter} has no stable version yet. Set one first."
        raise AdapterError(message, code="adapter_without_stable")
    return stable


def put_rollout(alias: Alias, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if name not in ROLLOUT_FIELDS:
            message = f"{name} is not part of a rollout"
            raise TypeError(message)
        setattr(alias, name, value)


def require_fitting(alias: Alias) -> None:
    """Raises ``AdapterError`` for a share of nothing, or for versions that the alias' pool cannot serve."""
    for kind in ("canary", "shadow"):
        if getattr(alias, f"{kind}_percent") and getattr(alias, f"{kind}_version") is None:
            message = f"Choose the version that gets the {kind} share."
            raise AdapterError(message, code=f"{kind}_version_missing")
    for field in VERSION_FIELDS:
        require_fits(tenant=alias.tenant, version=getattr(alias, field), pool=alias.pool)


def require_fits(*, tenant: Tenant, version: AdapterVersion | None, pool: Pool | None) -> None:
    """Raises ``AdapterError`` unless ``pool`` (default: the tenant's) can serve ``version`` to the tenant."""
    if version is None:
        return
    if version.adapter.tenant_id != tenant.pk:
        message = f"This version belongs to another tenant. Choose one of {tenant.name}'s own."
        raise AdapterError(message, code="alias_foreign_version")
    pool = pool or tenant.pool
    if version.base_model != pool.base_model:
        message = (
            f"{version} is for {version.base_model}; pool {pool.name} serves {pool.base_model}. "
            "Choose a pool with its base model."
        )
        raise AdapterError(message, code="adapter_wrong_base")
    if version.rank > pool.max_lora_rank:
        message = f"{version} has rank {version.rank}; pool {pool.name} takes at most {pool.max_lora_rank}."
        raise AdapterError(message, code="adapter_rank_too_big")


@transaction.atomic
def delete_alias(*, alias: Alias) -> None:
    """Apps that use it get "not found" from then on."""
    alias.delete()
    publish_after_commit(tenant_id=alias.tenant_id)
