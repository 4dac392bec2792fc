"""Reads for the console and the API."""

from django.db.models import Count, Max, Q, QuerySet

from portal.adapters.models import VERSION_FIELDS, Adapter, AdapterVersion, Alias
from portal.fleet.models import Pool
from portal.tenants.models import Tenant


def misfits(*, tenant: Tenant, pool: Pool) -> list[Alias]:
    """The tenant's aliases that follow its pool and could not be served by ``pool``."""
    return list(Alias.objects.filter(_unservable(pool), tenant=tenant, pool__isnull=True))


def broken_by(*, pool: Pool, base_model: str, max_lora_rank: int) -> QuerySet[Alias]:
    """The aliases on ``pool`` that could not be served any more if it had these settings."""
    changed = Pool(base_model=base_model, max_lora_rank=max_lora_rank)
    own = Q(pool=pool) | Q(pool__isnull=True, tenant__pool=pool)
    return Alias.objects.filter(own & _unservable(changed)).select_related("tenant")


def _unservable(pool: Pool) -> Q:
    """Aliases with any version, be it a canary's, that ``pool`` does not take."""
    found = Q()
    for name in VERSION_FIELDS:
        wrong = ~Q(**{f"{name}__base_model": pool.base_model}) | Q(
            **{f"{name}__rank__gt": pool.max_lora_rank}
        )
        found |= Q(**{f"{name}__isnull": False}) & wrong
    return found


def versions_of(tenant: Tenant) -> QuerySet[AdapterVersion]:
    return AdapterVersion.objects.filter(adapter__tenant=tenant).select_related("adapter__tenant")


def adapters_with_counts() -> QuerySet[Adapter]:
    """Adapters with ``version_count``, ``newest`` (a number) and ``alias_count``, in one query."""
    return Adapter.objects.select_related("tenant").annotate(
        version_count=Count("versions", distinct=True),
        newest=Max("versions__number"),
        alias_count=Count("versions__aliases", distinct=True),
    )
