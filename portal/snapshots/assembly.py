"""Reads the registry and puts a ``Snapshot`` together: a dozen queries, however many tenants there are."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from gateway_hooks.contract import snapshot as contract
from gateway_hooks.contract.pii import PiiPolicy
from portal.billing.selectors import rates_at
from portal.fleet.models import Pool
from portal.snapshots import identities
from portal.snapshots.routes import Routes, routes_of
from portal.snapshots.scope import Only, of_tenants
from portal.tenants.limits import NAMES, one_limit, tenant_limits, to_micro
from portal.tenants.models import ConfigurationState, LimitRaise, Tenant, TenantConfiguration
from portal.tenants.selectors import coming
from portal.tenants.validators import configuration_of
from portal.tiers.models import BANDS, ServiceClass, Tier


def assemble(*, now: datetime, version: int, only: Only = None) -> contract.Snapshot:
    """The registry as of ``now``, or what it says of the tenants in ``only``.

    Call it in one REPEATABLE READ transaction for one consistent moment. Rows are read as plain tuples:
    with 10,000 tenants, model instances would take most of the time.
    """
    pools = {pool.pk: _pool(pool) for pool in Pool.objects.all()}
    tenants = of_tenants(Tenant.objects.order_by(), "id", only)
    rows = {row.id: row for row in tenants.values_list(*_TENANT_FIELDS, named=True)}
    routes = routes_of(rows, pools, rates_at(now), only)
    parts = _parts(now, only)
    return contract.Snapshot(
        version=version,
        published_at=now,
        tenants={str(pk): _tenant(row, routes[pk], parts) for pk, row in rows.items()},
        keys={key.id: key for key in identities.keys(now, only)},
        pools={pool.id: pool for pool in pools.values()},
        apps={app.id: app for app in identities.apps(only)},
        issuers={issuer.id: issuer for issuer in identities.issuers(only)},
    )


_TENANT_FIELDS = (
    *("id", "slug", "name", "status", "service_class", "billing_timezone", "tier_id", "pool_id", "beta"),
    *("weight", "queue_depth", "queue_wait_seconds", "clamp_output", *NAMES),
)


@dataclass(frozen=True)
class _Promise:
    """A tier, and what of it is the same for all its tenants."""

    tier: Tier
    end_user_limits: contract.Limits | None
    pii: PiiPolicy | None


@dataclass(frozen=True)
class _Configured:
    """``own_pii``: its ``pii`` stands in place of the tier's."""

    configuration: contract.Configuration
    own_pii: bool
    pii: PiiPolicy | None


@dataclass(frozen=True)
class _Parts:
    promises: Mapping[int, _Promise]
    raises: Mapping[UUID, tuple[contract.TemporaryLimits, ...]]
    configured: Mapping[UUID, _Configured]


def _parts(now: datetime, only: Only) -> _Parts:
    return _Parts(
        promises={tier.pk: _promise(tier) for tier in Tier.objects.all()},
        raises=_raises(now, only),
        configured=_configured(only),
    )


def _tenant(row: Any, aliases: Routes, parts: _Parts) -> contract.Tenant:
    promise, configured = parts.promises[row.tier_id], parts.configured.get(row.id)
    tier = promise.tier
    wait = tier.queue_wait_seconds if row.queue_wait_seconds is None else row.queue_wait_seconds
    return contract.Tenant(
        id=str(row.id),
        slug=row.slug,
        name=row.name,
        status="active" if row.status == "active" else "suspended",
        tier=tier.slug,
        service_class=row.service_class,
        billing_timezone=row.billing_timezone,
        limits=tenant_limits(row, tier),
        max_output_tokens=tier.max_output_tokens,
        request_timeout_seconds=tier.request_timeout_seconds,
        outage_policy="allowance" if tier.outage_policy == "allowance" else "refuse",
        outage_requests_per_minute=tier.outage_requests_per_minute,
        aliases=aliases,
        temporary_limits=parts.raises.get(row.id, ()),
        end_user_limits=promise.end_user_limits,
        clamp_output=tier.clamp_output if row.clamp_output is None else row.clamp_output,
        weight=row.weight or tier.weight,
        band=BANDS[ServiceClass(row.service_class)],
        queue_depth=tier.queue_depth if row.queue_depth is None else row.queue_depth,
        queue_wait_ms=wait * 1000,
        configuration=configured.configuration if configured else None,
        pii=configured.pii if configured and configured.own_pii else promise.pii,
    )


def _promise(tier: Tier) -> _Promise:
    limits = contract.Limits(
        requests_per_minute=tier.end_user_requests_per_minute,
        tokens_per_minute=tier.end_user_tokens_per_minute,
        daily_spend_micro=(
            None if tier.end_user_daily_spend_limit is None else to_micro(tier.end_user_daily_spend_limit)
        ),
    )
    return _Promise(
        tier=tier,
        end_user_limits=None if limits == contract.Limits() else limits,
        pii=_policy(tier.pii_policy),
    )


def _policy(raw: Any) -> PiiPolicy | None:
    return None if raw is None else msgspec.convert(raw, PiiPolicy)


def _raises(now: datetime, only: Only) -> dict[UUID, tuple[contract.TemporaryLimits, ...]]:
    """Those in force and those to come: gateways begin and end them to the second."""
    found: dict[UUID, tuple[contract.TemporaryLimits, ...]] = defaultdict(tuple)
    rows = of_tenants(LimitRaise.objects.filter(coming(now)).order_by("starts_at", "pk"), "tenant", only)
    for pk, tenant_id, name, value, starts_at, until in rows.values_list(
        "pk", "tenant_id", "limit", "value", "starts_at", "until"
    ):
        found[tenant_id] += (
            contract.TemporaryLimits(
                id=str(pk), limits=one_limit(name, value), starts_at=starts_at, until=until
            ),
        )
    return dict(found)


def _configured(only: Only) -> dict[UUID, _Configured]:
    configurations = of_tenants(TenantConfiguration.objects.order_by(), "tenant", only)
    published = configurations.filter(state=ConfigurationState.PUBLISHED)
    return {
        tenant_id: _Configured(
            configuration=configuration_of(content, version=number),
            own_pii="pii" in content,
            pii=_policy(content.get("pii")),
        )
        for tenant_id, number, content in published.values_list("tenant_id", "number", "content")
    }


def _pool(pool: Pool) -> contract.Pool:
    return contract.Pool(
        id=str(pool.pk),
        name=pool.name,
        base_model=pool.base_model,
        model=pool.model,
        max_model_len=pool.max_model_len,
        max_num_seqs=pool.max_num_seqs,
        max_num_batched_tokens=pool.max_num_batched_tokens,
        max_loras=pool.max_loras,
        max_cpu_loras=pool.max_cpu_loras,
        max_lora_rank=pool.max_lora_rank,
        kv_cache_gib=pool.kv_cache_gib,
        enforce_eager=pool.enforce_eager,
        endpoints=tuple(pool.endpoints),
        kv_bytes_per_token=pool.kv_bytes_per_token,
        seqs_in_flight=pool.seqs_in_flight,
        tokens_in_flight=pool.tokens_in_flight,
    )
