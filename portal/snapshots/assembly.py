"""Reads the registry and puts a ``Snapshot`` together: eight queries, however many tenants there are."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway_hooks.contract import snapshot as contract
from gateway_hooks.contract.pricing import Price
from portal.adapters.models import Alias
from portal.billing.models import Rate
from portal.billing.selectors import RateCard, rates_at
from portal.fleet.models import Pool
from portal.tenants.limits import key_limits, tenant_limits, to_micro
from portal.tenants.models import ApiKey, Tenant
from portal.tenants.selectors import usable
from portal.tiers.models import Tier

Routes = dict[str, contract.Route]


def assemble(*, now: datetime, version: int) -> contract.Snapshot:
    """The registry as of ``now``. Call it in one REPEATABLE READ transaction for one consistent moment.

    Rows are read as plain tuples: with 10,000 tenants, model instances would take most of the time.
    """
    pools = {pool.pk: _pool(pool) for pool in Pool.objects.all()}
    tiers = {tier.pk: tier for tier in Tier.objects.all()}
    rows = {row.id: row for row in Tenant.objects.order_by().values_list(*_TENANT_FIELDS, named=True)}
    routes = _routes(rows, pools, rates_at(now))
    return contract.Snapshot(
        version=version,
        published_at=now,
        tenants={str(row.id): _tenant(row, tiers[row.tier_id], routes[row.id]) for row in rows.values()},
        keys={key.id: key for key in _keys(now)},
        pools={pool.id: pool for pool in pools.values()},
    )


_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrency", "monthly_spend_limit")
_TENANT_FIELDS = (
    *("id", "slug", "name", "status", "service_class", "billing_timezone", "tier_id", "pool_id"),
    *_LIMITS,
)


def _tenant(row: Any, tier: Tier, aliases: Routes) -> contract.Tenant:
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
    )


def _routes(
    tenants: Mapping[UUID, Any], pools: dict[int, contract.Pool], rates: RateCard
) -> dict[UUID, Routes]:
    """Routes by tenant and alias; an alias that could not be served is left out, so that it is unknown.

    That is one whose version belongs to another tenant or another base model: no form lets it in, and
    if one ever does, a gateway must not route it.
    """
    prices = _Prices(rates)
    routes: dict[UUID, Routes] = defaultdict(dict)
    for tenant_id, name, pool_id, version_id, digest, base_model, owner_id in _alias_rows():
        tenant = tenants[tenant_id]
        pool = pools[pool_id or tenant.pool_id]
        if version_id and (owner_id != tenant_id or base_model != pool.base_model):
            continue
        routes[tenant_id][name] = contract.Route(
            pool_id=pool.id,
            base_model=pool.base_model,
            adapter_version_id=str(version_id) if version_id else None,
            adapter_digest=digest,
            price=prices.of(tenant, pool.base_model),
        )
    return routes


class _Prices:
    """Rates as gateways read them, each made once: most tenants share their tier's or everyone's."""

    def __init__(self, rates: RateCard) -> None:
        self._rates = rates
        self._made: dict[int, Price] = {}

    def of(self, tenant: Any, base_model: str) -> Price | None:
        rate = self._rates.pick(tenant_id=tenant.id, tier_id=tenant.tier_id, base_model=base_model)
        if rate is None:
            return None
        if rate.pk not in self._made:
            self._made[rate.pk] = _price(rate)
        return self._made[rate.pk]


def _price(rate: Rate) -> Price:
    return Price(
        rate_id=str(rate.pk),
        currency=rate.book.currency,
        input_micro=to_micro(rate.input_price),
        cached_input_micro=to_micro(rate.cached_input_price),
        output_micro=to_micro(rate.output_price),
    )


def _alias_rows() -> Iterator[tuple]:  # type: ignore[type-arg] # rows of values_list
    rows = Alias.objects.order_by().values_list(
        "tenant_id",
        "name",
        "pool_id",
        "version_id",
        "version__digest",
        "version__base_model",
        "version__adapter__tenant_id",
    )
    return iter(rows)


def _keys(now: datetime) -> Iterator[contract.ApiKey]:
    fields = ("id", "sha256", "expires_at", "app_id", "app__tenant_id", *_LIMITS)
    for row in ApiKey.objects.filter(usable(now)).order_by().values_list(*fields, named=True):
        key: Any = row
        yield contract.ApiKey(
            id=key.id,
            sha256=key.sha256,
            tenant_id=str(key.app__tenant_id),
            app_id=str(key.app_id),
            limits=key_limits(key),
            expires_at=key.expires_at,
        )


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
    )
