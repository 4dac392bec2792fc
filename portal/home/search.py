"""What Ctrl-K finds: tenants and adapters by name, keys by their public id, requests by id."""

from collections.abc import Iterator

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from unfold.dataclasses import SearchResult

from portal.adapters.models import Adapter, Alias
from portal.tenants.models import ApiKey, App, Tenant
from portal.usage.models import GatewayUsage

EACH = 8
KEY_PREFIX = "sk-tn-"
SHORTEST_ID = 4


def search(request: HttpRequest, term: str) -> list[SearchResult]:
    """At most ``EACH`` results of each kind, only of what the reader may open."""
    term = term.strip()
    return [
        result
        for permission, find in (
            ("tenants.view_tenant", _tenants),
            ("tenants.view_apikey", _keys),
            ("tenants.view_app", _apps),
            ("usage.view_gatewayusage", _requests),
            ("adapters.view_adapter", _adapters),
            ("adapters.view_alias", _aliases),
        )
        if request.user.has_perm(permission)
        for result in find(term)
    ]


def _found(rows: QuerySet[Model], *, icon: str, what: str) -> Iterator[SearchResult]:
    for row in rows[:EACH]:
        meta = row._meta  # noqa: SLF001 - its documented home
        link = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
        yield SearchResult(title=str(row), description=what, link=link, icon=icon)


def _tenants(term: str) -> Iterator[SearchResult]:
    return _found(Tenant.objects.filter(name__icontains=term), icon="apartment", what="Tenant")


def _keys(term: str) -> Iterator[SearchResult]:
    """By the public id, also from a pasted key: its secret part is cut off before the query."""
    key_id = term.removeprefix(KEY_PREFIX).split("-")[0]
    if len(key_id) < SHORTEST_ID:
        return iter(())
    keys = ApiKey.objects.filter(id__startswith=key_id).select_related("app__tenant")
    return _found(keys, icon="key", what="API key")


def _apps(term: str) -> Iterator[SearchResult]:
    return _found(App.objects.filter(name__icontains=term).select_related("tenant"), icon="apps", what="App")


def _requests(term: str) -> Iterator[SearchResult]:
    """Ids only from their beginning: the index finds those among millions."""
    if len(term) < SHORTEST_ID * 2:
        return iter(())
    requests = GatewayUsage.objects.filter(request_id__startswith=term).order_by("request_id")
    return _found(requests, icon="receipt_long", what="Request")


def _adapters(term: str) -> Iterator[SearchResult]:
    adapters = Adapter.objects.filter(name__icontains=term).select_related("tenant")
    return _found(adapters, icon="extension", what="Adapter")


def _aliases(term: str) -> Iterator[SearchResult]:
    aliases = Alias.objects.filter(name__icontains=term).select_related("tenant")
    return _found(aliases, icon="alternate_email", what="Alias")
