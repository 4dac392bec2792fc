"""Reads for the console and the API."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import OuterRef, QuerySet, Subquery

from gateway_hooks.contract.keys import RECORD_TTL_SECONDS
from portal.core.words import duration
from portal.fleet.models import GatewayProcess
from portal.snapshots.models import PublishedSnapshot

ALIVE = timedelta(seconds=RECORD_TTL_SECONDS)
"""A process that has not been seen for longer lets its record expire: it is gone."""


def is_alive(seen_at: datetime, now: datetime) -> bool:
    return now - seen_at <= ALIVE


def seen_ago(seen_at: datetime, now: datetime) -> str:
    return f"{duration(now - seen_at)} ago"


def gateways_with_lag() -> QuerySet[GatewayProcess]:
    """Gateway processes with ``newest_version`` and, where they serve an older one, ``behind_since``."""
    newer = PublishedSnapshot.objects.filter(version__gt=OuterRef("snapshot_version")).order_by("version")
    return GatewayProcess.objects.annotate(
        behind_since=Subquery(newer.values("published_at")[:1]),
        newest_version=Subquery(PublishedSnapshot.objects.order_by("-version").values("version")[:1]),
    )


@dataclass(frozen=True)
class Serving:
    """What a gateway serves against the newest: in a sentence and in a word."""

    text: str
    state: str


def serving(
    gateway: GatewayProcess, *, newest: int | None, behind_since: datetime | None, now: datetime
) -> Serving:
    """Pure: the sentence about a gateway's configuration."""
    version = gateway.snapshot_version
    if gateway.snapshot_source == "none":
        return Serving("serves nothing yet", "empty")
    if not is_alive(gateway.seen_at, now):
        return Serving(f"served {version}", "gone")
    if behind_since is None:
        return Serving(f"serves {version}, the newest", "up to date")
    return Serving(f"serves {version}, newest {newest}: behind for {duration(now - behind_since)}", "behind")
