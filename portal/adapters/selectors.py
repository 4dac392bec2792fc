"""Reads for the console and the API."""

from django.db.models import Count, Max, Q, QuerySet

from portal.adapters.models import Adapter, AdapterVersion, Alias
from portal.fleet.models import Pool
from portal.tenants.models import Tenant


def misfits(*, tenant: Tenant, pool: Pool) -> list[Alias]:
    """The tenant's aliases that follow its pool and could not be served by ``pool``."""
    aliases = Alias.objects.filter(tenant=tenant, pool__isnull=True, version__isnull=False)
    return list(aliases.filter(_unservable(pool)))


def served_by(pool: Pool) -> QuerySet[Alias]:
    """Aliases with an adapter whose requests run on ``pool``."""
    own = Q(pool=pool) | Q(pool__isnull=True, tenant__pool=pool)
    return Alias.objects.filter(own, version__isnull=False)


def broken_by(*, pool: Pool, base_model: str, max_lora_rank: int) -> QuerySet[Alias]:
    """The aliases on ``pool`` that could not be served any more if it had these settings."""
    changed = Pool(base_model=base_model, max_lora_rank=max_lora_rank)
    return served_by(pool).filter(_unservable(changed)).select_related("tenant")


def _unservable(pool: Pool) -> Q:
    return ~Q(version__base_model=pool.base_model) | Q(version__rank__gt=pool.max_lora_rank)


def versions_of(tenant: Tenant) -> QuerySet[AdapterVersion]:
    return AdapterVersion.objects.filter(adapter__tenant=tenant).select_related("adapter__tenant")


def adapters_with_counts() -> QuerySet[Adapter]:
    """Adapters with ``version_count``, ``newest`` (a number) and ``alias_count``, in one query."""
    return Adapter.objects.select_related("tenant").annotate(
        version_count=Count("versions", distinct=True),
        newest=Max("versions__number"),
        alias_count=Count("versions__aliases", distinct=True),
    )
