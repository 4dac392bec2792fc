"""Takes usage events from the Redis streams into PostgreSQL: each once, whatever is repeated or dies.

An entry is acknowledged and deleted only after the transaction that keeps it has committed. One
ingester works at a time; whatever an earlier one took and did not acknowledge is taken again first.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import redis
from django.db import connection, transaction
from django.db.models import Max

from gateway_hooks.contract import keys
from gateway_hooks.contract.usage import UsageEventError
from portal.billing.models import BillingPeriod
from portal.core.redis import client as redis_client
from portal.usage.models import ParkedEvent
from portal.usage.rows import Row, row_of
from portal.usage.store import store

logger = logging.getLogger(__name__)

STREAMS = (keys.GATEWAY_EVENTS, keys.ENGINE_EVENTS)
BATCH = 1000
_CONSUMER = "portal"
_INGEST_LOCK = 0x746E_0001
"""Advisory lock: one ingester at a time, and none while a period is being closed."""

_Entry = tuple[bytes, dict[bytes, bytes]]


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """``taken`` counts stream entries; each is ``new``, ``repeated`` or ``parked``."""

    taken: int = 0
    new: int = 0
    repeated: int = 0
    parked: int = 0

    def __add__(self, other: "Ingested") -> "Ingested":
        return Ingested(
            taken=self.taken + other.taken,
            new=self.new + other.new,
            repeated=self.repeated + other.repeated,
            parked=self.parked + other.parked,
        )


def ingest(now: datetime, *, batch: int = BATCH, max_batches: int = 50) -> Ingested:
    """Take what both streams hold, at most ``max_batches`` batches. Raises ``REDIS_AWAY``'s errors."""
    connected = redis_client()
    total = Ingested()
    for stream in STREAMS:
        _ensure_group(connected, stream)
        for _ in range(max_batches):
            done = _ingest_batch(connected, stream, now, batch)
            total += done
            if done.taken < batch:
                break
    return total


def hold_ingest() -> None:
    """Keep every ingester out until the running transaction ends; waits for the one that is at work."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_INGEST_LOCK])


@transaction.atomic
def retry_parked(parked: Iterable[ParkedEvent], *, now: datetime) -> Ingested:
    """Try parked entries again, after whatever refused them was mended. What is kept leaves the parking."""
    hold_ingest()
    total = Ingested()
    chosen = ParkedEvent.objects.select_for_update().filter(pk__in=[entry.pk for entry in parked])
    for entry in chosen.order_by("pk"):
        total += _retry(entry, _arrival(now))
    return total


def _retry(entry: ParkedEvent, now: datetime) -> Ingested:
    try:
        stored = store([row_of(bytes(entry.raw), now=now)])
        for _row, refusal in stored.refused:
            raise refusal
    except UsageEventError as error:
        entry.code, entry.error = error.code, str(error)
        entry.save(update_fields=["code", "error"])
        return Ingested(taken=1, parked=1)
    entry.delete()
    return Ingested(taken=1, new=stored.new, repeated=stored.repeated)


def _ensure_group(connected: "redis.Redis", stream: str) -> None:
    try:
        connected.xgroup_create(stream, keys.INGEST_GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def _ingest_batch(connected: "redis.Redis", stream: str, now: datetime, batch: int) -> Ingested:
    with transaction.atomic():
        if not _try_lock():
            return Ingested()
        entries = _take(connected, stream, batch)
        done = _keep(stream, entries, _arrival(now)) if entries else Ingested()
    # Committed. Dying here repeats the entries, which are then known; dying above loses nothing.
    if entries:
        _acknowledge(connected, stream, entries)
    return done


def _acknowledge(connected: "redis.Redis", stream: str, entries: list[_Entry]) -> None:
    ids = [entry_id for entry_id, _fields in entries]
    with connected.pipeline(transaction=True) as pipeline:
        pipeline.xack(stream, keys.INGEST_GROUP, *ids)
        pipeline.xdel(stream, *ids)
        pipeline.execute()


def _try_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_INGEST_LOCK])
        return bool(cursor.fetchone()[0])


def _arrival(now: datetime) -> datetime:
    """``now``, but after the last close: what arrives later must be seen to have arrived later.

    Under the ingest lock, which a close holds too: so an arrival up to ``closed_at`` is in what was closed.
    """
    closed = BillingPeriod.objects.aggregate(last=Max("closed_at"))["last"]
    return now if closed is None else max(now, closed + timedelta(microseconds=1))


def _take(connected: "redis.Redis", stream: str, batch: int) -> list[_Entry]:
    """What an ingester that died left behind, then what is new."""
    # Under the lock nobody else is at work, so nothing pending is somebody else's.
    answer: Any = connected.xautoclaim(
        stream, keys.INGEST_GROUP, _CONSUMER, min_idle_time=0, start_id="0-0", count=batch
    )
    entries: list[_Entry] = list(answer[1])
    if len(entries) < batch:
        fresh: Any = connected.xreadgroup(
            keys.INGEST_GROUP, _CONSUMER, {stream: ">"}, count=batch - len(entries)
        )
        entries += _entries_of(fresh)
    return entries


def _entries_of(answer: Any) -> list[_Entry]:
    """XREADGROUP's entries in either protocol: ``[[stream, entries]]`` or ``{stream: [entries]}``."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [entry for lists in answer.values() for part in lists for entry in part]
    return [entry for _stream, entries in answer for entry in entries]


def _keep(stream: str, entries: list[_Entry], now: datetime) -> Ingested:
    """Store or park every entry, in the running transaction."""
    rows: list[Row] = []
    sources: dict[int, tuple[str, bytes]] = {}
    parked: list[ParkedEvent] = []
    for entry_id, fields in entries:
        raw = fields.get(keys.EVENT_FIELD.encode())
        try:
            row = row_of(_event_bytes(raw), now=now)
        except UsageEventError as error:
            whole = msgspec.msgpack.encode(fields) if raw is None else raw
            parked.append(_parked(stream, entry_id.decode(), whole, error, now))
            continue
        rows.append(row)
        sources[id(row)] = (entry_id.decode(), _event_bytes(raw))
    stored = store(rows)
    parked += [_parked(stream, *sources[id(row)], error, now) for row, error in stored.refused]
    ParkedEvent.objects.bulk_create(parked, ignore_conflicts=True)
    for event in parked:
        logger.warning("parked %s entry %s: %s", stream, event.entry_id, event.code)
    return replace(Ingested(taken=len(entries), parked=len(parked)), new=stored.new, repeated=stored.repeated)


def _event_bytes(raw: bytes | None) -> bytes:
    if raw is None:
        message = f"the entry has no field {keys.EVENT_FIELD!r}"
        raise UsageEventError(message, code="stream_entry_malformed")
    return raw


def _parked(stream: str, entry_id: str, raw: bytes, error: UsageEventError, now: datetime) -> ParkedEvent:
    text = str(error).replace("\x00", "\\0")  # PostgreSQL's text holds no NUL
    return ParkedEvent(stream=stream, entry_id=entry_id, raw=raw, code=error.code, error=text, parked_at=now)
