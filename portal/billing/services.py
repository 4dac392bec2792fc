"""Rates requests: joins their events, writes one exact ledger entry each, and settles the gateway's hold.

Safe to run twice and at the same time: raters claim different requests (SKIP LOCKED), an entry's key is
its request, and a hold is settled once. Deciding and settling are two steps with a commit between
them, so that neither a lost Redis nor a crash leaves an entry without its settlement.
"""

import logging
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q, QuerySet

from gateway_hooks.contract.usage import EngineEvent
from portal.billing.conf import engine_wait, join_grace
from portal.billing.corrections import correct_entries
from portal.billing.joining import Joined, engine_event, gateway_event, is_billable, join, paying, unbilled
from portal.billing.ledger import micro_of, write_entries
from portal.billing.models import LedgerEntry
from portal.billing.periods import share_books
from portal.billing.settlement import settle_holds
from portal.billing.spent_days import add_spent
from portal.core.redis import REDIS_AWAY
from portal.usage.models import EngineUsage, GatewayUsage, PendingRequest

logger = logging.getLogger(__name__)

BATCH = 500
TENANT_UNKNOWN = "tenant_unknown"


@dataclass(frozen=True, kw_only=True)
class Rated:
    """Counts: entries written, entries corrected, requests that never reached an engine, holds settled."""

    entries: int = 0
    corrections: int = 0
    without_entry: int = 0
    settled: int = 0

    def __add__(self, other: "Rated") -> "Rated":
        return Rated(
            entries=self.entries + other.entries,
            corrections=self.corrections + other.corrections,
            without_entry=self.without_entry + other.without_entry,
            settled=self.settled + other.settled,
        )


def rate_requests(now: datetime, *, batch: int = BATCH, max_batches: int = 50) -> Rated:
    """Rate what is due at ``now``. While Redis is away entries are written and holds settled later."""
    total = Rated()
    for _ in range(max_batches):
        claimed, done = _decide(now, batch)
        total += done
        if claimed < batch:
            break
    try:
        return total + Rated(settled=_settle(batch, max_batches))
    except REDIS_AWAY as error:
        logger.warning("Redis is away, holds are settled later: %s", error)
        return total


def undecided() -> QuerySet[PendingRequest]:
    return PendingRequest.objects.filter(settle_micro__isnull=True, problem="")


def due(now: datetime) -> QuerySet[PendingRequest]:
    """Requests of which nothing more is awaited."""
    has_paying = ~Q(paying=0)
    complete = Q(has_gateway=True) & (has_paying | Q(forwarded=False))
    enough = (Q(tokens_known=True) | has_paying) & Q(seen_at__lte=now - join_grace())
    given_up = Q(seen_at__lte=now - engine_wait())
    waiting = undecided().annotate(paying=F("engine_tries").bitand(F("paying_tries")))  # type: ignore[arg-type]
    return waiting.filter(complete | enough | given_up)


def retry_problems() -> int:
    """Requests of unknown tenants are looked at again by the next rating; how many there are."""
    return PendingRequest.objects.exclude(problem="").update(problem="")


@transaction.atomic
def _decide(now: datetime, batch: int) -> tuple[int, Rated]:
    """(requests looked at, what became of them)."""
    share_books()
    claimed = list(due(now).select_for_update(skip_locked=True).order_by("seen_at", "pk")[:batch])
    ids = [pending.pk for pending in claimed]
    known = LedgerEntry.objects.select_related("rate").in_bulk(ids)
    billable, refused = _join_all(ids)
    entries = write_entries([request for request in billable if request.request_id not in known], now=now)
    micro = {entry.pk: micro_of(entry) for entry in entries} | dict.fromkeys(refused, 0)
    # An event that came after the grace: the entry stands, what it is off by is written beside it.
    seen = [*billable, *(request for request in refused.values() if request is not None)]
    late = [request for request in seen if request.request_id in known]
    corrected, corrections = correct_entries(known, late, now=now)
    micro |= corrected
    for pending in claimed:
        pending.settle_micro = micro.get(pending.pk)
        pending.problem = "" if pending.pk in micro else TENANT_UNKNOWN
    PendingRequest.objects.bulk_update(claimed, ["settle_micro", "problem"])
    # Last, and once: raters wait for each other's days from here on.
    add_spent([*entries, *corrections])
    return len(claimed), Rated(entries=len(entries), corrections=len(corrections), without_entry=len(refused))


def _join_all(ids: list[str]) -> tuple[list[Joined], dict[str, Joined | None]]:
    """(requests to bill, those that nobody pays for by their ids)."""
    gateways = {
        row.request_id: gateway_event(row.payload) for row in GatewayUsage.objects.filter(request_id__in=ids)
    }
    engines: dict[str, list[EngineEvent]] = defaultdict(list)
    for row in EngineUsage.objects.filter(request_id__in=ids):
        engines[row.request_id].append(engine_event(row.payload))
    billable: list[Joined] = []
    refused: dict[str, Joined | None] = {}
    for key in ids:
        gateway, tries = gateways.get(key), engines[key]
        engine = paying(gateway, tries)
        joined = join(gateway, engine)
        if not is_billable(gateway, engine):
            refused[key] = joined and unbilled(joined)
        elif joined:
            billable.append(joined)
    return billable, refused


def _settle(batch: int, max_batches: int) -> int:
    settled = 0
    for _ in range(max_batches):
        done = _settle_batch(batch)
        settled += done
        if done < batch:
            break
    return settled


@transaction.atomic
def _settle_batch(batch: int) -> int:
    """Settle, then forget. If the forgetting fails the settlement is repeated and finds no hold."""
    decided = list(
        PendingRequest.objects.select_for_update(skip_locked=True)
        .filter(settle_micro__isnull=False)
        .order_by("seen_at", "pk")[:batch]
    )
    settle_holds(
        (str(pending.tenant_id), pending.pk, pending.settle_micro or 0)
        for pending in decided
        if pending.tenant_id is not None
    )
    PendingRequest.objects.filter(pk__in=[pending.pk for pending in decided]).delete()
    return len(decided)
