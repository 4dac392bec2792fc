"""What the tab "Limits" shows: bars of the tenant, its apps and keys, and the queue."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.db.models import Q
from django.urls import reverse

from gateway_hooks.contract import keys
from gateway_hooks.contract.limits_view import Used
from portal.billing.ledger import DEFAULT_CURRENCY
from portal.billing.models import PriceBook
from portal.tenants import live
from portal.tenants.limit_bars import Bar, LastRefusal, Raised, own_bars, tenant_bars
from portal.tenants.limits import NAMES, to_micro
from portal.tenants.models import ApiKey, App, Tenant
from portal.tenants.selectors import coming, usable
from portal.usage.refusals import LIMIT_OF, Refusal, last_refusals

OWNERS_SHOWN = 12
REFUSALS_KEPT_SECONDS = 15
_LIMITED = Q()
for _name in NAMES:
    _LIMITED |= Q(**{f"{_name}__isnull": False})


@dataclass(frozen=True, kw_only=True)
class Owner:
    """An app or key with limits of its own."""

    name: str
    what: str
    link: str
    bars: list[Bar]


@dataclass(frozen=True, kw_only=True)
class LimitsNow:
    """``known`` is False, and ``places`` None, while Redis is away."""

    at: datetime
    currency: str
    known: bool
    bars: list[Bar]
    owners: list[Owner]
    more_owners: bool
    promise: live.Promise
    places: list[live.Place] | None


def limits_now(tenant: Tenant, now: datetime, *, money: bool) -> LimitsNow:
    """Seven queries at most, and a round trip to Redis for the limits and one for each pool."""
    apps = list(App.objects.filter(_LIMITED, tenant=tenant)[: OWNERS_SHOWN + 1])
    owned = ApiKey.objects.filter(_LIMITED, usable(now), app__tenant=tenant).select_related("app")
    own_keys = list(owned[: OWNERS_SHOWN + 1])
    shown: list[App | ApiKey] = [*apps[:OWNERS_SHOWN], *own_keys[:OWNERS_SHOWN]]
    used = live.used_now(tenant, [live.TENANT, *(_scope(one) for one in shown)], now)
    counters: list[Used | None] = list(used) if used is not None else [None] * (1 + len(shown))
    currency = currency_now(now)
    bars = tenant_bars(
        tenant,
        tenant.tier,
        counters[0],
        raises=_raises(tenant, now),
        refused=_refused(tenant, _recent(tenant, now)),
        currency=currency,
        tier_name=tenant.tier.name,
        money=money,
    )
    return LimitsNow(
        at=now,
        currency=currency,
        known=used is not None,
        bars=bars,
        owners=[
            _owner(one, counter, currency, money=money)
            for one, counter in zip(shown, counters[1:], strict=True)
        ],
        more_owners=len(apps) > OWNERS_SHOWN or len(own_keys) > OWNERS_SHOWN,
        promise=live.promise_of(tenant),
        places=live.places(tenant, live.pools_of(tenant)) if used is not None else None,
    )


def currency_now(now: datetime) -> str:
    """Limits are in the currency of the price book in force."""
    books = PriceBook.objects.filter(published_at__isnull=False, effective_from__lte=now)
    newest = books.order_by("-effective_from").values_list("currency", flat=True).first()
    return newest or DEFAULT_CURRENCY


def _scope(owner: App | ApiKey) -> str:
    return keys.app_scope(str(owner.pk)) if isinstance(owner, App) else keys.key_scope(owner.pk)


def _owner(owner: App | ApiKey, used: Used | None, currency: str, *, money: bool) -> Owner:
    bars = own_bars(owner, used, currency=currency, money=money)
    if isinstance(owner, App):
        link = reverse("admin:tenants_app_change", args=[owner.pk])
        return Owner(name=owner.name, what="app", link=link, bars=bars)
    link = reverse("admin:tenants_apikey_change", args=[owner.pk])
    return Owner(name=f"{owner}{f' ({owner.name})' if owner.name else ''}", what="key", link=link, bars=bars)


def _raises(tenant: Tenant, now: datetime) -> dict[str, Raised]:
    rows = tenant.raises.filter(coming(now), starts_at__lte=now).order_by("starts_at")
    return {row.limit: Raised(value=row.value, until=row.until) for row in rows}


def _recent(tenant: Tenant, now: datetime) -> list[Refusal]:
    """Kept for a moment: the page asks every few seconds, and a busy tenant's day has many rows."""
    name = f"limit-refusals:{tenant.pk}"
    found: Any = cache.get(name)
    if found is None:
        found = last_refusals(tenant.pk, now)
        cache.set(name, found, REFUSALS_KEPT_SECONDS)
    return list(found)


def _refused(tenant: Tenant, refusals: Iterable[Refusal]) -> dict[str, LastRefusal]:
    """The last one by each limit of the tenant itself."""
    found: dict[str, LastRefusal] = {}
    for one in sorted(refusals, key=lambda refusal: refusal.at):
        if one.scope in {keys.TENANT_SCOPE, ""}:
            link = reverse("admin:usage_gatewayusage_change", args=[one.request_id])
            found[_limit_name(one, tenant)] = LastRefusal(at=one.at, link=link)
    return found


def _limit_name(refusal: Refusal, tenant: Tenant) -> str:
    """Both spend limits refuse with one code: the amount tells which it was."""
    names = LIMIT_OF[refusal.reason]
    for name in names[:-1]:
        own = getattr(tenant, name)
        value = getattr(tenant.tier, name) if own is None else own
        if value is not None and refusal.limit == to_micro(value):
            return name
    return names[-1]
