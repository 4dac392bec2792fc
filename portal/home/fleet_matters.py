"""What of the fleet needs a person: open breakers, dead letters, gateways that keep events on disk."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.urls import reverse

from portal.core.redis import REDIS_AWAY
from portal.core.words import count
from portal.fleet.dead_letters import dead_letters
from portal.fleet.models import GatewayProcess
from portal.fleet.naming import tenant_names
from portal.fleet.trouble_pages import breakers
from portal.home.matters import SHOWN, Matter

OPEN_LONG = timedelta(seconds=30)
"""Shorter ones close by themselves before anybody has read of them."""
MANY_SPOOLED = 1000


def fleet_matters(now: datetime, alive: timedelta) -> Iterator[Matter]:
    yield from _breakers(now)
    yield from _dead_letters()
    yield from _spooling(now, alive)


def _breakers(now: datetime) -> Iterator[Matter]:
    rows = [row for row in breakers(now) if row["since"] <= now - OPEN_LONG]
    if not rows:
        return
    longest = rows[0]
    yield Matter(
        "warning",
        "electrical_services",
        f"{count(len(rows), 'open breaker')}",
        f"Worker {longest['worker']} has not been asked for {longest['what']} for {longest['open_for']}"
        + (f" ({longest['tenant']})." if longest["tenant"] != "all" else "."),
        reverse("admin:fleet_trouble"),
        "Look at them",
    )


def _dead_letters() -> Iterator[Matter]:
    try:
        letters = dead_letters()
    except REDIS_AWAY:
        return  # gateways that keep events on disk say so already
    if not letters:
        return
    names = tenant_names(letter.tenant_id for letter in letters[:SHOWN])
    whose = ", ".join(sorted(set(names.values()))) or "tenants that are gone"
    yield Matter(
        "critical",
        "dangerous",
        f"{count(len(letters), 'request')} refused for crashing workers",
        f"Of {whose}{' and others' if len(letters) > SHOWN else ''}. Find out why before releasing.",
        reverse("admin:fleet_trouble"),
        "Open dead letters",
    )


def _spooling(now: datetime, alive: timedelta) -> Iterator[Matter]:
    rows = GatewayProcess.objects.filter(seen_at__gte=now - alive, spooled_events__gt=0)
    for gateway in rows.order_by("-spooled_events")[:SHOWN]:
        yield Matter(
            "critical" if gateway.spooled_events >= MANY_SPOOLED else "warning",
            "save",
            f"Gateway {gateway.host} keeps {count(gateway.spooled_events, 'event')} on disk",
            f"Process {gateway.pid} could not reach Redis. They are sent once it can; until then "
            "they are in no figure.",
            reverse("admin:fleet_gatewayprocess_change", args=[gateway.pk]),
            "Open the gateway",
        )
