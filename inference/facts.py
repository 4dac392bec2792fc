"""The signed facts of a request on their way from the door to EngineCore, and the event they end in.

The door (API server process) has checked the gateway's signature; the scheduler (EngineCore process)
sees only sampling parameters and the request's id. Generation carries the facts in ``vllm_xargs``, which
the door always replaces; pooling has no such field, so there they ride in the request id.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway_hooks.contract.attempts import attempt_of, request_of
from gateway_hooks.contract.identity import Identity
from gateway_hooks.contract.usage import EngineEvent, WorkerInterval
from inference.boot import Boot
from inference.meter import Metered, Stretch

XARGS_NAME = "tenantry"
_MARK = "-tnf."
_END = ".tnf-"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an ``Identity`` that an engine event repeats. ``issued_at`` in seconds since 1970.

    ``choices`` (``n``) and ``streams`` are the signed body's: vLLM runs one request per choice.
    """

    request_id: str
    issued_at: float
    tenant_id: str
    app_id: str
    key_id: str
    alias: str
    adapter_version_id: str | None = None
    adapter_digest: str | None = None
    choices: int = 1
    streams: bool = False
    shadow: bool = False
    attempt: int = 1


def facts_of(identity: Identity, *, choices: int = 1, streams: bool = False) -> Facts:
    return Facts(
        # Signed is the attempt's id; the event is the request's, with the number of the attempt.
        request_id=request_of(identity.request_id),
        issued_at=identity.issued_at if identity.admitted_at is None else identity.admitted_at,
        tenant_id=identity.tenant_id,
        app_id=identity.app_id,
        key_id=identity.key_id,
        alias=identity.alias,
        adapter_version_id=identity.adapter_version_id,
        adapter_digest=identity.adapter_digest,
        choices=choices,
        streams=streams,
        shadow=identity.shadow,
        attempt=attempt_of(identity.request_id),
    )


def as_xargs(facts: Facts) -> dict[str, str]:
    return {XARGS_NAME: msgspec.json.encode(facts).decode()}


def as_request_id(facts: Facts) -> str:
    """The id with the facts in it; vLLM puts its own prefix and suffix around it."""
    packed = base64.urlsafe_b64encode(msgspec.json.encode(facts)).decode()
    return f"{facts.request_id}{_MARK}{packed}{_END}"


def read_facts(extra_args: Mapping[str, Any] | None, engine_request_id: str) -> Facts | None:
    """The facts of an engine request; None if nobody signed it (the engine's own requests)."""
    try:
        if extra_args and XARGS_NAME in extra_args:
            return msgspec.json.decode(extra_args[XARGS_NAME], type=Facts)
        if _MARK in engine_request_id:
            packed = engine_request_id.partition(_MARK)[2].partition(_END)[0]
            return msgspec.json.decode(base64.urlsafe_b64decode(packed), type=Facts)
    except (msgspec.DecodeError, ValueError):
        return None
    return None


def engine_event(boot: Boot, facts: Facts | None, metered: Metered, *, event_id: str) -> EngineEvent:
    """Unsigned requests keep the engine's id and no tenant: their time is shown, and billed to nobody."""
    finished_at = boot.wall(metered.finished_ns)
    known = facts or Facts(
        request_id=metered.request_id,
        issued_at=finished_at.timestamp(),
        tenant_id="",
        app_id="",
        key_id="",
        alias="",
    )
    outcome = metered.outcome
    return EngineEvent(
        event_id=event_id,
        request_id=known.request_id,
        worker_id=boot.worker_id,
        boot_id=boot.boot_id,
        pool_id=boot.pool.id,
        ts=datetime.fromtimestamp(known.issued_at, UTC),
        finished_at=finished_at,
        tenant_id=known.tenant_id,
        app_id=known.app_id,
        key_id=known.key_id,
        alias=known.alias,
        base_model=boot.pool.base_model,
        adapter_version_id=known.adapter_version_id,
        adapter_digest=known.adapter_digest,
        finish_reason=outcome.reason,
        prompt_tokens=outcome.prompt_tokens,
        cached_tokens=outcome.cached_tokens,
        completion_tokens=outcome.completion_tokens,
        prefill_ns=metered.prefill_ns,
        decode_ns=metered.decode_ns,
        queue_ns=metered.queue_ns,
        steps=metered.steps,
        preemptions=outcome.preemptions,
        peak_kv_blocks=metered.peak_kv_blocks,
        shadow=known.shadow,
        attempt=known.attempt,
    )


def worker_interval(boot: Boot, stretch: Stretch, *, event_id: str) -> WorkerInterval:
    return WorkerInterval(
        event_id=event_id,
        worker_id=boot.worker_id,
        boot_id=boot.boot_id,
        pool_id=boot.pool.id,
        start=boot.wall(stretch.start_ns),
        end=boot.wall(stretch.end_ns),
        startup_ns=stretch.startup_ns,
        busy_ns=stretch.busy_ns,
        steps=stretch.steps,
    )
