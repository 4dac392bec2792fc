"""The home page's context."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from portal.core import clock
from portal.core.windows import CHOICES, DEFAULT, window
from portal.fleet.models import GatewayProcess
from portal.home.attention import matters
from portal.home.cards import cards
from portal.home.charts import charts
from portal.home.figures import series, total
from portal.tenants.models import ApiKey, Tenant
from portal.usage.models import GatewayUsage

CHART_TITLES = {
    "traffic": ("Requests and tokens", "bars: requests, left scale · line: tokens, right scale"),
    "latency": ("Time to first token", "milliseconds, over answered requests"),
    "tenants": ("Volume by tenant", "tokens, the ten largest; click one to open it"),
    "workers": ("Worker time", "worker-seconds that were busy, starting up, or idle"),
}


def home(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the index page of the console: ``?range=`` 1h, 24h (default) or 30d."""
    now = clock.now()
    asked = request.GET.get("range", DEFAULT)
    shown = window(asked, now)
    bucket = shown.choice.bucket
    current, previous = series(shown.current, bucket), series(shown.previous, bucket)
    drawn = charts(request.user, shown, current)
    return context | {
        "title": "Home",
        "home": {
            "choices": list(CHOICES.values()),
            "window": shown,
            "cards": cards(request.user, shown, now, current, previous),
            "matters": matters(request.user, now),
            "charts": [
                {"name": name, "title": title, "note": note, "data": drawn[name]}
                for name, (title, note) in CHART_TITLES.items()
                if name in drawn
            ],
            "start": _start() if not total(current).requests else None,
            "now": now,
        },
    }


def _start() -> dict[str, Any] | None:
    """The next step for somebody who has sent nothing yet; None once a request is known."""
    if GatewayUsage.objects.exists():
        return None
    gateway = GatewayProcess.objects.order_by("-seen_at").values_list("url", flat=True).first()
    steps = (
        ("Create a tenant", Tenant.objects.exists()),
        ("Give it an API key", ApiKey.objects.filter(revoked_at__isnull=True).exists()),
        ("Send a request", False),
    )
    return {
        "steps": steps,
        "next": next(index for index, (_, done) in enumerate(steps) if not done),
        "url": gateway or getattr(settings, "GATEWAY_URL", None) or "http://localhost:4000",
    }
