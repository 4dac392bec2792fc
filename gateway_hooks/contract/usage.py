"""The usage events: one by the gateway and one by the engine per request, one by the worker per interval.

``event_id`` and ``ts`` are fixed when the event is made and repeated on every replay, so that the
ledger keeps each event once for ever. Times are UTC; durations are integers with their unit in the name.
"""

from datetime import datetime
from typing import Literal

import msgspec

from gateway_hooks.contract.errors import ContractError

SCHEMA_VERSION = 2

Outcome = Literal[
    "completed", "disconnected", "rejected", "upstream_error", "timeout", "gateway_error", "gateway_lost"
]
"""``gateway_lost``: the gateway died with the request in flight; another one says so in its place."""
Served = Literal["pinned", "stable", "canary", "beta", "fallback", "shadow"]
FinishReason = Literal["stop", "length", "abort", "error"]


class UsageEventError(ContractError):
    """The bytes are no usage event of a schema this code knows."""

    code = "usage_event_invalid"


class GatewayEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="gateway"):
    """What the gateway saw of one request.

    ``ts`` is the admission. Token counts are the engine's own as reported in ``usage``; None where the
    gateway cannot know them (a client that hung up): then the engine's event says. ``tenant_id`` is None
    only for requests that could not be identified. ``event_id`` is derived from the request's id
    (``gateway_event_id``), so whoever tells of a request tells it once.

    ``end_user`` is a keyed hash. ``pii_counts`` are values masked by entity, never values. ``queue_us`` is
    the wait for a seat. ``attempts`` are the workers asked. ``shadow_of`` names the request that this one
    is a copy of: nobody is charged for it. ``refused_*`` say which limit of which scope refused, how much
    of it was used and what the request asked for on top.
    """

    event_id: str
    request_id: str
    gateway_id: str
    ts: datetime
    endpoint: str
    stream: bool
    outcome: Outcome
    http_status: int
    reason: str | None = None
    tenant_id: str | None = None
    app_id: str | None = None
    key_id: str | None = None
    alias: str | None = None
    pool_id: str | None = None
    worker_id: str | None = None
    base_model: str | None = None
    adapter_version_id: str | None = None
    adapter_digest: str | None = None
    forwarded: bool = False
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reserved_tokens: int = 0
    reserved_micro: int = 0
    rate_id: str | None = None
    ttft_us: int | None = None
    duration_us: int = 0
    snapshot_version: int = 0
    configuration_version: int | None = None
    issuer_id: str | None = None
    end_user: str | None = None
    served: Served | None = None
    degraded: bool = False
    attempts: int = 0
    shadow_of: str | None = None
    queue_us: int | None = None
    counted_prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    clamped: bool = False
    choices: int = 1
    pii_counts: dict[str, int] = {}
    refused_scope: str | None = None
    refused_limit: int | None = None
    refused_used: int | None = None
    refused_asked: int | None = None
    schema_version: int = SCHEMA_VERSION


def gateway_event_id(request_id: str) -> str:
    """One gateway event per request, whoever writes it: its gateway, or the one that found that dead."""
    return f"gw-{request_id}"


class EngineEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="engine"):
    """What the engine did for one try of a request, aborted or not.

    ``ts`` is the gateway's signed admission time, so both events of a request fall into one period.
    ``prefill_ns + decode_ns`` is this request's share of the steps it was in; over all requests the
    shares sum to the busy time of the worker's intervals. A ``shadow`` copy is nobody's to pay but the
    platform's. ``attempt`` counts from 1; the request has one event per try that reached an engine.
    """

    event_id: str
    request_id: str
    worker_id: str
    boot_id: str
    pool_id: str
    ts: datetime
    finished_at: datetime
    tenant_id: str
    app_id: str
    key_id: str
    alias: str
    base_model: str
    adapter_version_id: str | None
    adapter_digest: str | None
    finish_reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    prefill_ns: int
    decode_ns: int
    queue_ns: int
    steps: int
    preemptions: int = 0
    peak_kv_blocks: int = 0
    shadow: bool = False
    attempt: int = 1
    schema_version: int = SCHEMA_VERSION


class WorkerInterval(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="interval"):
    """A stretch ``[start, end)`` of a worker's life; stretches of one boot touch and never overlap.

    Every nanosecond is in exactly one of ``startup_ns``, ``busy_ns`` and the rest, which was idle.
    """

    event_id: str
    worker_id: str
    boot_id: str
    pool_id: str
    start: datetime
    end: datetime
    startup_ns: int
    busy_ns: int
    steps: int
    schema_version: int = SCHEMA_VERSION


UsageEvent = GatewayEvent | EngineEvent | WorkerInterval

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(UsageEvent)


def encode_event(event: UsageEvent) -> bytes:
    return _encoder.encode(event)


def decode_event(raw: bytes) -> UsageEvent:
    """Raises ``UsageEventError`` for anything but an event of a known schema."""
    try:
        event: UsageEvent = _decoder.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        message = f"not a usage event: {error}"
        raise UsageEventError(message) from error
    if event.schema_version > SCHEMA_VERSION:
        message = f"usage event schema {event.schema_version} is newer than {SCHEMA_VERSION}"
        raise UsageEventError(message)
    return event
