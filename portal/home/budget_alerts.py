"""Budget alerts of running days and months, as matters that need a person."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.urls import reverse

from portal.billing.models import BudgetAlert
from portal.billing.months import day_of, month_of
from portal.home.matters import SHOWN, Level, Matter
from portal.tenants.models import App, TokenIssuer

ALL, MUCH = 100, 80
ISSUER = "jwt-"
"""A token issuer stands where a key does, under this and its id."""
_ZONES = (timedelta(hours=-12), timedelta(), timedelta(hours=14))
"""Somewhere it is still yesterday or already tomorrow."""


def budget_matters(now: datetime) -> Iterator[Matter]:
    """The highest percentage of each budget."""
    days = {day_of(now + shift) for shift in _ZONES} | {month_of(now + shift) for shift in _ZONES}
    running = BudgetAlert.objects.filter(period__in=days)
    highest = running.order_by("tenant_id", "scope", "period", "-percent").distinct(
        "tenant_id", "scope", "period"
    )
    alerts = BudgetAlert.objects.filter(pk__in=highest.values("pk")).select_related("tenant")
    shown = list(alerts.order_by("-percent", "-at")[: SHOWN + 1])
    names = _names(shown)
    for alert in shown[:SHOWN]:
        yield _matter(alert, names)
    if len(shown) > SHOWN:
        yield Matter(
            "warning",
            "notifications",
            f"{alerts.count() - SHOWN:,} more budget alerts",
            "The highest are listed above.",
            reverse("admin:tenants_tenant_changelist"),
            "Open tenants",
        )


def _matter(alert: BudgetAlert, names: dict[str, str]) -> Matter:
    level: Level = "critical" if alert.percent >= ALL else "warning" if alert.percent >= MUCH else "info"
    span = "daily" if len(alert.period) == len("2026-01-31") else "monthly"
    return Matter(
        level,
        "notifications",
        f"{_owner(alert, names)} reached {alert.percent} % of its {span} spend limit",
        f"{alert.spent:,.2f} of {alert.limit:,.2f} in {alert.period}, "
        f"at {alert.at:%d %b %H:%M} UTC." + (" Its requests are refused." if alert.percent >= ALL else ""),
        reverse("admin:tenants_tenant_change", args=[alert.tenant_id]),
        "Open limits",
    )


def _owner(alert: BudgetAlert, names: dict[str, str]) -> str:
    kind, _, one = alert.scope.partition(".")
    match kind:
        case "app":
            return f"{alert.tenant.name} / {names.get(one, one)}"
        case "key" if one.startswith(ISSUER):
            return f"{alert.tenant.name}'s token issuer {names.get(one, one)}"
        case "key":
            return f"{alert.tenant.name}'s key {one}"
        case _:
            return alert.tenant.name


def _names(alerts: list[BudgetAlert]) -> dict[str, str]:
    """Of apps and token issuers, by what stands in a scope after its kind."""
    ones = {alert.scope.partition(".")[2] for alert in alerts}
    issuers = TokenIssuer.objects.filter(
        pk__in=[one[len(ISSUER) :] for one in ones if one.startswith(ISSUER)]
    )
    apps = App.objects.filter(pk__in=[alert.scope[4:] for alert in alerts if alert.scope.startswith("app.")])
    return {str(app.pk): app.name for app in apps} | {f"{ISSUER}{one.pk}": one.name for one in issuers}
