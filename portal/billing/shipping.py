"""Usage that is still elsewhere: in a gateway's spool or in a worker's outbox.

What a process keeps back is known by what it last reported, also of one that is gone.
"""

from datetime import datetime, timedelta

from django.db.models import Max

from gateway_hooks.contract import keys
from portal.billing.models import BillingPeriod
from portal.core.words import count
from portal.fleet.models import GatewayProcess, Worker
from portal.usage.models import WorkerTime

LAG = timedelta(seconds=60)
"""Workers report their time every few seconds: one whose reports end so long before it was last seen
keeps its usage back. The outbox's size alone says little, since its newest file stays until it is full."""
ALIVE = timedelta(seconds=keys.RECORD_TTL_SECONDS)


def not_shipped(period: BillingPeriod, *, now: datetime) -> list[str]:
    """Who keeps back usage that may be of the period, in words."""
    return [*_gateways(period, now), *_workers(period, now)]


def _gateways(period: BillingPeriod, now: datetime) -> list[str]:
    seen = list(GatewayProcess.objects.filter(seen_at__gte=period.start))
    return [
        f"gateway {one.id} on {one.host} {_presence(one.seen_at, now)} with "
        f"{count(one.spooled_events, 'event')} on its disk"
        for one in seen
        if one.spooled_events and not any(_took_over(other, one) for other in seen)
    ]


def _took_over(other: GatewayProcess, gone: GatewayProcess) -> bool:
    """A gateway ships what dead ones left behind on its host."""
    later = other.host == gone.host and other.seen_at > gone.seen_at + ALIVE
    return later and other.spooled_events == 0


def _workers(period: BillingPeriod, now: datetime) -> list[str]:
    seen = Worker.objects.filter(seen_at__gte=period.start, outbox_bytes__gt=0)
    found = []
    for worker in seen:
        own = WorkerTime.objects.filter(worker_id=worker.pk, boot_id=worker.boot_id)
        arrived = own.aggregate(last=Max("end"))["last"] or worker.started_at
        if worker.seen_at - arrived > LAG:
            found.append(
                f"worker {worker.pk} {_presence(worker.seen_at, now)}, its usage arrived up to "
                f"{arrived:%Y-%m-%d %H:%M:%S} UTC ({worker.outbox_bytes:,} bytes in its outbox)"
            )
    return found


def _presence(seen_at: datetime, now: datetime) -> str:
    return "is alive" if now - seen_at <= ALIVE else f"was last seen {seen_at:%Y-%m-%d %H:%M:%S} UTC"
