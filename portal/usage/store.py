"""Keeps events: each once for ever, together with the note that its request has to be rated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DataError, IntegrityError, connection, transaction

from gateway_hooks.contract.usage import UsageEventError
from portal.usage.models import ANY_TRY, EngineUsage, GatewayUsage, WorkerTime
from portal.usage.rows import Row, is_forwarded, paying_tries, try_bit

_MODELS: tuple[type[Row], ...] = (GatewayUsage, EngineUsage, WorkerTime)


@dataclass
class Stored:
    new: int = 0
    repeated: int = 0
    refused: list[tuple[Row, UsageEventError]] = field(default_factory=list)


def store(rows: Iterable[Row]) -> Stored:
    """Keep ``rows`` in the running transaction. Of events with one id the first stays."""
    result = Stored()
    unique: dict[str, Row] = {}
    for row in rows:
        unique.setdefault(row.event_id, row)
        result.repeated += unique[row.event_id] is not row
    for model in _MODELS:
        mine = [row for row in unique.values() if type(row) is model]
        if mine:
            _store_kind(model, mine, result)
    return result


def _store_kind(model: type[Row], rows: list[Row], result: Stored) -> None:
    known = set(model.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
    new = [row for row in rows if row.pk not in known]
    result.repeated += len(rows) - len(new)
    if model is not WorkerTime:
        new = _first_of_try(model, new, result)
    kept = _insert(model, new, result)
    result.new += len(kept)
    _note_pending(kept)


def _first_of_try(model: type[Row], rows: list[Row], result: Stored) -> list[Row]:
    """A second event about one request, of the engine about one try, has another id: it was made twice."""
    names = ("request_id", "attempt") if model is EngineUsage else ("request_id",)
    asked = [row.request_id for row in rows if not isinstance(row, WorkerTime)]
    manager: Any = model.objects
    taken = set(manager.filter(request_id__in=asked).values_list(*names))
    first: list[Row] = []
    for row in rows:
        told = tuple(getattr(row, name) for name in names)
        if told in taken:
            message = f"request {told[0]} already has an event of this kind with another id"
            result.refused.append((row, UsageEventError(message, code="usage_event_second")))
        else:
            taken.add(told)
            first.append(row)
    return first


def _insert(model: type[Row], rows: list[Row], result: Stored) -> list[Row]:
    """All at once; if PostgreSQL refuses one of them, one by one, so that the others stay."""
    try:
        _insert_all(model, rows)
    except (DataError, IntegrityError, ValueError):
        return [row for row in rows if _insert_one(model, row, result)]
    return rows


def _insert_one(model: type[Row], row: Row, result: Stored) -> bool:
    try:
        _insert_all(model, [row])
    except (DataError, IntegrityError, ValueError) as error:
        refusal = UsageEventError(f"PostgreSQL refuses it: {error}", code="usage_event_unfit")
        result.refused.append((row, refusal))
        return False
    return True


def _insert_all(model: type[Row], rows: Sequence[Row]) -> None:
    manager: Any = model.objects
    with transaction.atomic():
        # The ids above were read under the ingest lock; if its connection was lost meanwhile, another
        # ingester may have been faster, and the unique keys decide.
        manager.bulk_create(rows, ignore_conflicts=True)


_NOTE = """
INSERT INTO usage_pendingrequest AS known
  (request_id, ts, seen_at, has_gateway, has_engine, forwarded, tokens_known, engine_tries, paying_tries,
   tenant_id, problem)
SELECT request_id, min(ts), min(seen_at), bool_or(has_gateway), bool_or(has_engine), bool_or(forwarded),
       bool_or(tokens_known), bit_or(engine_tries), bit_and(paying_tries), min(tenant_id::text)::uuid, ''
FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], %s::bool[], %s::bool[], %s::bool[], %s::bool[],
            %s::bigint[], %s::bigint[], %s::uuid[])
  AS told(request_id, ts, seen_at, has_gateway, has_engine, forwarded, tokens_known, engine_tries,
          paying_tries, tenant_id)
GROUP BY request_id ORDER BY request_id
ON CONFLICT (request_id) DO UPDATE SET
  has_gateway = known.has_gateway OR EXCLUDED.has_gateway,
  has_engine = known.has_engine OR EXCLUDED.has_engine,
  forwarded = known.forwarded OR EXCLUDED.forwarded,
  tokens_known = known.tokens_known OR EXCLUDED.tokens_known,
  engine_tries = known.engine_tries | EXCLUDED.engine_tries,
  paying_tries = known.paying_tries & EXCLUDED.paying_tries,
  tenant_id = COALESCE(known.tenant_id, EXCLUDED.tenant_id)
"""


def _note_pending(rows: list[Row]) -> None:
    """Waits for a rating that holds the same request, so that no event falls between two ratings.

    One row per request, since two tries may come together; sorted, so that two ingesters could never wait
    for each other in a ring.
    """
    asked = [row for row in rows if not isinstance(row, WorkerTime)]
    if not asked:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            _NOTE,
            [
                [row.request_id for row in asked],
                [row.ts for row in asked],
                [row.ingested_at for row in asked],
                [isinstance(row, GatewayUsage) for row in asked],
                [isinstance(row, EngineUsage) for row in asked],
                [isinstance(row, EngineUsage) or is_forwarded(row) for row in asked],
                [_tokens_known(row) for row in asked],
                [try_bit(row.attempt) if isinstance(row, EngineUsage) else 0 for row in asked],
                [paying_tries(row) if isinstance(row, GatewayUsage) else ANY_TRY for row in asked],
                [row.tenant_id for row in asked],
            ],
        )


def _tokens_known(row: GatewayUsage | EngineUsage) -> bool:
    return (
        isinstance(row, GatewayUsage) and row.prompt_tokens is not None and row.completion_tokens is not None
    )
