"""From a usage event's bytes to the row that keeps it. No I/O; what does not fit gets a stable code."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.core.exceptions import ValidationError
from django.db import models

from gateway_hooks.contract.usage import (
    EngineEvent,
    GatewayEvent,
    UsageEventError,
    WorkerInterval,
    decode_event,
)
from portal.usage.models import ANY_TRY, EngineUsage, GatewayUsage, WorkerTime

Row = GatewayUsage | EngineUsage | WorkerTime

MAX_AHEAD = timedelta(days=1)
"""An event dated further ahead of us than this has a broken clock: it would open periods of its own."""
MAX_ATTEMPT = 63


def row_of(raw: bytes, *, now: datetime) -> Row:
    """The row for one event. Raises ``UsageEventError`` with the code under which it is parked."""
    event = decode_event(raw)
    payload = msgspec.json.decode(raw)
    match event:
        case GatewayEvent():
            _check_tokens(event.prompt_tokens, event.cached_tokens)
            row: Row = _gateway_row(event, payload, now)
        case EngineEvent():
            _check_tokens(event.prompt_tokens, event.cached_tokens)
            _check_attempt(event.attempt)
            row = _engine_row(event, payload, now)
        case WorkerInterval():
            row = _time_row(event, payload, now)
    _check_row(row, now)
    return row


def is_forwarded(row: GatewayUsage) -> bool:
    """Whether a worker may have been asked; a gateway that died was not there to say."""
    return row.outcome == "gateway_lost" or bool(row.payload.get("forwarded", False))


def try_bit(attempt: int) -> int:
    """The bit of a try. Far more than any gateway makes fit into 64 bits."""
    return 1 << (min(max(attempt, 1), MAX_ATTEMPT) - 1)


def paying_tries(row: GatewayUsage) -> int:
    """The try that answered, as a bit; every bit where the gateway died and cannot say."""
    return ANY_TRY if row.outcome == "gateway_lost" else try_bit(row.attempts)


def _check_tokens(prompt: int | None, cached: int | None) -> None:
    if cached is not None and cached > (prompt or 0):
        message = f"{cached} cached tokens of {prompt} prompt tokens"
        raise UsageEventError(message, code="usage_event_inconsistent")


def _check_attempt(attempt: int) -> None:
    if not 1 <= attempt <= MAX_ATTEMPT:
        message = f"attempt {attempt}"
        raise UsageEventError(message, code="usage_event_inconsistent")


def _check_row(row: Row, now: datetime) -> None:
    unknown: set[str] = set()
    for field in row._meta.concrete_fields:  # noqa: SLF001 - Django documents it
        value = getattr(row, field.attname)
        if value is None and field.null:
            unknown.add(field.name)
        elif isinstance(field, models.DateTimeField) and value.tzinfo is None:
            message = f"{field.name} has no time zone"
            raise UsageEventError(message, code="usage_event_inconsistent")
    if row.ts > now + MAX_AHEAD:
        message = f"dated {row.ts.isoformat()}, which is in the future"
        raise UsageEventError(message, code="usage_event_from_the_future")
    if isinstance(row, WorkerTime) and row.end < row.ts:
        message = "the interval ends before it starts"
        raise UsageEventError(message, code="usage_event_inconsistent")
    try:
        row.clean_fields(exclude=unknown)
    except ValidationError as error:
        message = f"does not fit the ledger: {error.message_dict}"
        raise UsageEventError(message, code="usage_event_unfit") from error


def _clipped(text: str | None, column: str) -> str:
    """A text that only describes, cut to its column; the payload keeps it whole."""
    field = GatewayUsage._meta.get_field(column)  # noqa: SLF001 - Django documents it
    return (text or "")[: getattr(field, "max_length", None)]


def _gateway_row(event: GatewayEvent, payload: Any, now: datetime) -> GatewayUsage:
    return GatewayUsage(
        event_id=event.event_id,
        ts=event.ts,
        payload=payload,
        ingested_at=now,
        request_id=event.request_id,
        tenant_id=event.tenant_id,
        app_id=event.app_id,
        worker_id=event.worker_id or "",
        outcome=event.outcome,
        http_status=event.http_status,
        stream=event.stream,
        prompt_tokens=event.prompt_tokens,
        cached_tokens=event.cached_tokens,
        completion_tokens=event.completion_tokens,
        ttft_us=event.ttft_us,
        duration_us=event.duration_us,
        issuer_id=event.issuer_id,
        degraded=event.degraded,
        attempts=event.attempts,
        shadow_of=event.shadow_of or "",
        queue_us=event.queue_us,
        max_output_tokens=event.max_output_tokens,
        clamped=event.clamped,
        choices=event.choices,
        pii_counts=event.pii_counts,
        refused_limit=event.refused_limit,
        refused_used=event.refused_used,
        refused_asked=event.refused_asked,
        configuration_version=event.configuration_version,
        served=event.served or "",
        end_user=_clipped(event.end_user, "end_user"),
        refused_scope=_clipped(event.refused_scope, "refused_scope"),
        key_id=_clipped(event.key_id, "key_id"),
        alias=_clipped(event.alias, "alias"),
        endpoint=_clipped(event.endpoint, "endpoint"),
        reason=_clipped(event.reason, "reason"),
    )


def _engine_row(event: EngineEvent, payload: Any, now: datetime) -> EngineUsage:
    return EngineUsage(
        event_id=event.event_id,
        ts=event.ts,
        payload=payload,
        ingested_at=now,
        request_id=event.request_id,
        tenant_id=event.tenant_id,
        worker_id=event.worker_id,
        boot_id=event.boot_id,
        pool_id=event.pool_id,
        adapter_digest=event.adapter_digest or "",
        finish_reason=event.finish_reason,
        finished_at=event.finished_at,
        prompt_tokens=event.prompt_tokens,
        cached_tokens=event.cached_tokens,
        completion_tokens=event.completion_tokens,
        prefill_ns=event.prefill_ns,
        decode_ns=event.decode_ns,
        queue_ns=event.queue_ns,
        shadow=event.shadow,
        attempt=event.attempt,
    )


def _time_row(event: WorkerInterval, payload: Any, now: datetime) -> WorkerTime:
    return WorkerTime(
        event_id=event.event_id,
        ts=event.start,
        payload=payload,
        ingested_at=now,
        worker_id=event.worker_id,
        boot_id=event.boot_id,
        pool_id=event.pool_id,
        end=event.end,
        startup_ns=event.startup_ns,
        busy_ns=event.busy_ns,
    )
