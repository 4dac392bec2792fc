"""Where each tenant's aliases lead, as gateways read it: two queries, however many aliases there are."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from gateway_hooks.contract import snapshot as contract
from gateway_hooks.contract.pricing import Price
from portal.adapters.models import AdapterVersion, Alias
from portal.billing.models import Rate
from portal.billing.selectors import RateCard
from portal.snapshots.scope import Only, of_tenants
from portal.tenants.limits import to_micro

Routes = dict[str, contract.Route]

_ALIAS_FIELDS = (
    *("tenant_id", "name", "track", "pool_id", "version_id"),
    *("canary_version_id", "canary_percent", "shadow_version_id", "shadow_percent"),
    *("beta_version_id", "fallback_version_id"),
)


class _Version(NamedTuple):
    digest: str
    base_model: str
    owner: UUID


def routes_of(
    tenants: Mapping[UUID, Any], pools: Mapping[int, contract.Pool], rates: RateCard, only: Only
) -> dict[UUID, Routes]:
    """Routes by tenant and alias; an alias that could not be served is left out, so that it is unknown.

    That is one whose version belongs to another tenant or another base model: no form lets it in, and
    if one ever does, a gateway must not route it. So with canaries and the like: the alias stays without.
    """
    prices = _Prices(rates)
    versions = _versions(only)
    routes: dict[UUID, Routes] = defaultdict(dict)
    for row in _alias_rows(only):
        tenant = tenants[row.tenant_id]
        pool = pools[row.pool_id or tenant.pool_id]
        leads = _Leads(tenant, pool, versions, prices.of(tenant, pool.base_model))
        if row.version_id and not leads.fits(row.version_id):
            continue
        routes[row.tenant_id][row.name] = leads.route(row)
    return routes


class _Leads:
    """Makes the targets of one alias."""

    def __init__(
        self, tenant: Any, pool: contract.Pool, versions: Mapping[UUID, _Version], price: Price | None
    ) -> None:
        self._tenant, self._pool, self._versions, self._price = tenant, pool, versions, price

    def fits(self, version_id: UUID) -> bool:
        version = self._versions[version_id]
        return version.owner == self._tenant.id and version.base_model == self._pool.base_model

    def route(self, row: Any) -> contract.Route:
        version = self._versions[row.version_id] if row.version_id else None
        return contract.Route(
            pool_id=self._pool.id,
            base_model=self._pool.base_model,
            adapter_version_id=str(row.version_id) if version else None,
            adapter_digest=version.digest if version else None,
            price=self._price,
            track="stable" if row.track == "stable" else "pinned",
            beta=self._target(row.beta_version_id) if self._tenant.beta else None,
            canary=self._share(row.canary_version_id, row.canary_percent),
            shadow=self._share(row.shadow_version_id, row.shadow_percent),
            fallback=self._target(row.fallback_version_id),
        )

    def _target(self, version_id: UUID | None) -> contract.Target | None:
        if version_id is None or not self.fits(version_id):
            return None
        return contract.Target(
            pool_id=self._pool.id,
            base_model=self._pool.base_model,
            adapter_version_id=str(version_id),
            adapter_digest=self._versions[version_id].digest,
            price=self._price,
        )

    def _share(self, version_id: UUID | None, percent: Decimal) -> contract.Share | None:
        target = self._target(version_id) if percent else None
        return contract.Share(target=target, basis_points=int(percent * 100)) if target else None


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


def _alias_rows(only: Only) -> Iterator[Any]:
    aliases = of_tenants(Alias.objects.order_by(), "tenant", only)
    return iter(aliases.values_list(*_ALIAS_FIELDS, named=True))


def _meant_by(only: Collection[UUID]) -> Q:
    names = ("version", "canary_version", "shadow_version", "beta_version", "fallback_version")
    aliases = Alias.objects.filter(tenant__in=only)
    meant = {pk for row in aliases.values_list(*(f"{name}_id" for name in names)) for pk in row if pk}
    return Q(pk__in=meant)


def _versions(only: Only) -> dict[UUID, _Version]:
    """Also of other tenants, where an alias of one of these has got hold of one: it must be seen to be."""
    versions = AdapterVersion.objects.order_by()
    if only is not None:
        versions = versions.filter(Q(adapter__tenant__in=only) | _meant_by(only))
    rows = versions.values_list("pk", "digest", "base_model", "adapter__tenant_id")
    return {pk: _Version(digest, base_model, owner) for pk, digest, base_model, owner in rows}
