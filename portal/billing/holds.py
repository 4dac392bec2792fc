"""Gives back holds that nobody will ever settle: of requests whose gateway died before any worker was asked.

A hold counts the worst case against its tenant's money until it is settled. Rating settles what an event
names; a hold of which no event came, long after the last moment at which one could, is settled at nothing.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from gateway_hooks.contract import keys
from portal.billing.arrivals import ingest_lags
from portal.billing.conf import engine_wait
from portal.billing.corrections import micro_booked
from portal.billing.settlement import settle_holds
from portal.core.redis import client as redis_client
from portal.tenants.models import Tenant
from portal.usage.models import EngineUsage, GatewayUsage, PendingRequest

logger = logging.getLogger(__name__)

BATCH = 500


class _Hold(msgspec.Struct, frozen=True):
    """``at`` is the admission in milliseconds; holds of older gateways have none."""

    at: int | None = None


def give_back_holds(now: datetime) -> int:
    """Settle the holds of which nothing more can come; how many. Raises ``REDIS_AWAY``.

    While usage waits in Redis nothing is given back: the missing events may be there.
    """
    if ingest_lags(now):
        return 0
    given_back = 0
    for tenant in _with_holds():
        old = list(_old(tenant, now))
        for start in range(0, len(old), BATCH):
            given_back += settle_holds(_settlements(tenant, old[start : start + BATCH]))
    if given_back:
        logger.warning("gave back %s holds that no event had settled", given_back)
    return given_back


def _with_holds() -> Iterator[Tenant]:
    """Asks Redis for many tenants at once: most have none."""
    ids = list(Tenant.objects.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        with redis_client().pipeline(transaction=False) as pipeline:
            for pk in part:
                pipeline.hlen(keys.holds(str(pk)))
            holding = [pk for pk, count in zip(part, pipeline.execute(), strict=True) if count]
        yield from Tenant.objects.filter(pk__in=holding).select_related("tier").order_by("pk")


def _old(tenant: Tenant, now: datetime) -> Iterator[str]:
    """Ids of requests that were admitted too long ago to be under way, or to be heard of still."""
    longest = engine_wait().total_seconds() + tenant.tier.request_timeout_seconds
    limit = int((now.timestamp() - longest) * 1000)
    for name, raw in redis_client().hscan_iter(keys.holds(str(tenant.pk)), count=BATCH):
        request_id = name.decode()
        try:
            at = msgspec.json.decode(raw, type=_Hold).at
        except msgspec.DecodeError as error:
            logger.warning("the hold of %s cannot be read: %s", request_id, error)
            continue
        if (at is None and not _under_way(tenant, request_id, now)) or (at is not None and at <= limit):
            yield request_id


def _under_way(tenant: Tenant, request_id: str, now: datetime) -> bool:
    """Its lease says so, where the hold does not say when it was made."""
    leases = keys.leases(str(tenant.pk), keys.TENANT_SCOPE)
    end_ms = redis_client().zscore(leases, request_id)
    return end_ms is not None and end_ms > now.timestamp() * 1000


def _settlements(tenant: Tenant, ids: Iterable[str]) -> list[tuple[str, str, int]]:
    """Nothing for requests of which nobody ever heard; what was booked for those that were rated.

    The latter stand where Redis forgot the last second before it died, and with it a settlement. Those
    that wait to be rated are left to the rating.
    """
    asked = set(ids)
    asked -= _named(PendingRequest, asked)
    heard = _named(GatewayUsage, asked) | _named(EngineUsage, asked)
    booked = micro_booked(heard)
    return [(str(tenant.pk), request_id, booked.get(request_id, 0)) for request_id in sorted(asked)]


def _named(model: Any, ids: set[str]) -> set[str]:
    return set(model.objects.filter(request_id__in=ids).values_list("request_id", flat=True))
