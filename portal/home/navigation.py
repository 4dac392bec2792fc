"""The console's left side: a group for each domain, and in it only what the reader may open."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

Item = dict[str, Any]

# (group, ((title, icon, "app.model"), ...)); "app.model:page" is another page for who may see the model
_GROUPS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Tenants",
        (
            ("Tenants", "apartment", "tenants.tenant"),
            ("Apps", "apps", "tenants.app"),
            ("API keys", "key", "tenants.apikey"),
            ("Token issuers", "badge", "tenants.tokenissuer"),
            ("Tiers", "layers", "tiers.tier"),
            ("Requests", "receipt_long", "usage.gatewayusage"),
        ),
    ),
    (
        "Adapters",
        (
            ("Adapters", "extension", "adapters.adapter"),
            ("Versions", "deployed_code_history", "adapters.adapterversion"),
            ("Aliases", "alternate_email", "adapters.alias"),
        ),
    ),
    (
        "Fleet",
        (
            ("Pools", "hub", "fleet.pool"),
            ("Workers", "memory", "fleet.worker"),
            ("Gateways", "router", "fleet.gatewayprocess"),
            ("Breakers, dead letters", "dangerous", "fleet.gatewayprocess:fleet_trouble"),
            ("Configuration", "published_with_changes", "snapshots.publishedsnapshot"),
            ("Engine events", "developer_board", "usage.engineusage"),
            ("Worker time", "timelapse", "usage.workertime"),
            ("Parked events", "inventory", "usage.parkedevent"),
        ),
    ),
    (
        "Billing",
        (
            ("Periods", "event_available", "billing.billingperiod"),
            ("Ledger", "menu_book", "billing.ledgerentry"),
            ("Price books", "sell", "billing.pricebook"),
            ("Node rates", "electric_meter", "fleet.noderate"),
            ("Cost lines", "account_tree", "billing.costline"),
        ),
    ),
    (
        "Settings",
        (
            ("Users", "person", "auth.user"),
            ("Roles", "shield_person", "auth.group"),
            ("API tokens", "vpn_key", "authtoken.tokenproxy"),
        ),
    ),
)


def navigation(request: HttpRequest) -> list[Item]:
    """Groups as unfold takes them. Pages that are not registered are left out."""
    groups: list[Item] = [
        {
            "items": [
                {"title": "Home", "icon": "home", "link": reverse("admin:index"), "permission": _everyone}
            ]
        }
    ]
    for title, entries in _GROUPS:
        items = [item for entry in entries if (item := _item(request, *entry))]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    return groups


def _item(request: HttpRequest, title: str, icon: str, model: str) -> Item | None:
    model, _, page = model.partition(":")
    app, name = model.split(".")
    try:
        link = reverse(f"admin:{page or f'{app}_{name}_changelist'}")
    except NoReverseMatch:
        return None
    if not _may_open(app, name)(request):
        return None
    shown = _is_shown(page or f"{app}_{name}_")
    return {"title": title, "icon": icon, "link": link, "permission": _may_open(app, name), "active": shown}


def _may_open(app: str, model: str) -> Callable[[HttpRequest], bool]:
    def allowed(request: HttpRequest) -> bool:
        return request.user.has_perm(f"{app}.view_{model}") or request.user.has_perm(f"{app}.change_{model}")

    return allowed


def _is_shown(prefix: str) -> Callable[[HttpRequest], bool]:
    """By the page's name: addresses of one model's pages may lie below another's."""

    def shown(request: HttpRequest) -> bool:
        match = request.resolver_match
        return match is not None and (match.url_name or "").startswith(prefix)

    return shown


def _everyone(_request: HttpRequest) -> bool:
    return True
