"""The charts' data, ready for Chart.js; the drawing is in ``static/console/console.js``."""

from typing import Any

from django.urls import reverse

from portal.core.windows import Window
from portal.home.attention import User
from portal.home.figures import Figures, Series, by_tenant
from portal.home.quantiles import quantile
from portal.tenants.models import Tenant

TOP = 10
Chart = dict[str, Any]
_NOTHING = Figures()


def charts(user: User, window: Window, current: Series) -> dict[str, Chart]:
    """Charts by name; only those that ``user`` may see, and none without data."""
    found: dict[str, Chart] = {}
    if user.has_perm("usage.view_gatewayusage"):
        found["traffic"] = _traffic(window, current)
        found["latency"] = _latency(window, current)
        if user.has_perm("tenants.view_tenant"):
            found["tenants"] = _tenants(window)
    if user.has_perm("usage.view_workertime"):
        found["workers"] = _workers(window, current)
    return found


def _labels(window: Window) -> list[str]:
    return [f"{start:{window.choice.tick}}" for start in window.buckets()]


def _each(window: Window, current: Series) -> list[Figures]:
    return [current.get(start, _NOTHING) for start in window.buckets()]


def _traffic(window: Window, current: Series) -> Chart:
    parts = _each(window, current)
    return {
        "labels": _labels(window),
        "series": [
            {
                "name": "Answered",
                "values": [part.requests - part.rejected - part.failed for part in parts],
                "unit": "requests",
            },
            {"name": "Rejected", "values": [part.rejected for part in parts], "unit": "requests"},
            {"name": "Failed", "values": [part.failed for part in parts], "unit": "requests"},
            {"name": "Tokens", "values": [part.tokens for part in parts], "unit": "tokens"},
        ],
        "empty": not any(part.requests or part.tokens for part in parts),
    }


def _latency(window: Window, current: Series) -> Chart:
    parts = _each(window, current)
    return {
        "labels": _labels(window),
        "series": [
            {
                "name": name,
                "values": [_milliseconds(quantile(part.ttft, share)) for part in parts],
                "unit": "ms",
            }
            for name, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
        ],
        "empty": not any(part.ttft for part in parts),
    }


def _milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else round(microseconds / 1000, 1)


def _tenants(window: Window) -> Chart:
    best = by_tenant(window.current, window.choice.bucket, limit=TOP)
    names = dict(Tenant.objects.filter(pk__in=[one for one, *_ in best]).values_list("pk", "name"))
    return {
        "labels": [names.get(one, "a tenant that is gone") for one, *_ in best],
        "links": [
            reverse("admin:tenants_tenant_change", args=[one]) if one in names else None for one, *_ in best
        ],
        "series": [{"name": "Tokens", "values": [tokens for _, tokens, _ in best], "unit": "tokens"}],
        "requests": [requests for *_, requests in best],
        "empty": not best,
    }


def _workers(window: Window, current: Series) -> Chart:
    """Worker-seconds by what they went into; buckets stack to the time that workers were up."""
    parts = _each(window, current)
    kinds = (("Busy", "busy_ns"), ("Start-up", "startup_ns"), ("Idle", "idle_ns"))
    return {
        "labels": _labels(window),
        "series": [
            {
                "name": name,
                "values": [round(getattr(part, attribute) / 1e9, 1) for part in parts],
                "unit": "worker-seconds",
            }
            for name, attribute in kinds
        ],
        "empty": not any(part.alive_ns for part in parts),
    }
