"""Joins a request's events: who asked comes from the gateway, how much from the engine. Pure.

Where one of the two is missing the other one speaks for it: the engine's event carries the signed
identity, the gateway's carries the engine's own ``usage``. A request that was tried more than once has an
engine's event per try that ran; it pays for one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from gateway_hooks.contract.usage import EngineEvent, GatewayEvent
from portal.billing.pricing import Tokens


@dataclass(frozen=True, kw_only=True)
class Joined:
    """``source`` is a ``LedgerEntry.Source``. Without ``tokens_known`` the tokens are zero."""

    request_id: str
    ts: datetime
    tenant_id: UUID
    app_id: UUID | None
    key_id: str
    alias: str
    base_model: str
    adapter_version_id: UUID | None
    worker_id: str
    source: str
    outcome: str
    tokens: Tokens
    tokens_known: bool
    gpu_ns: int
    rate_id: str
    """The price that the gateway promised; empty where it did not say."""


def gateway_event(payload: Any) -> GatewayEvent:
    return msgspec.convert(payload, GatewayEvent)


def engine_event(payload: Any) -> EngineEvent:
    return msgspec.convert(payload, EngineEvent)


def paying(gateway: GatewayEvent | None, engines: Sequence[EngineEvent]) -> EngineEvent | None:
    """The engine's event of the try that the request pays for: the gateway's last one.

    Earlier tries gave the client nothing; what they took of the GPUs is the platform's. Where no gateway
    can say how many there were, the last one that is known counts.
    """
    if gateway is not None and gateway.outcome != "gateway_lost":
        answered = max(gateway.attempts, 1)
        return next((engine for engine in engines if engine.attempt == answered), None)
    return max(engines, key=lambda engine: engine.attempt, default=None)


def is_billable(gateway: GatewayEvent | None, engine: EngineEvent | None) -> bool:
    """Whether the engine was asked: a refusal costs nothing, and a shadow copy is nobody's to pay.

    Of a gateway that died only the engine can say whether it was.
    """
    if (engine is not None and engine.shadow) or (gateway is not None and gateway.shadow_of is not None):
        return False
    if engine is not None:
        return True
    return gateway is not None and gateway.forwarded and gateway.outcome != "gateway_lost"


def unbilled(joined: Joined) -> Joined:
    """The same request when it turned out that nobody pays for it."""
    nothing = Tokens(prompt=0, cached=0, completion=0)
    return replace(joined, tokens=nothing, tokens_known=True, gpu_ns=0)


def join(gateway: GatewayEvent | None, engine: EngineEvent | None) -> Joined | None:
    """None where nobody can be billed: neither event knows a tenant."""
    who = gateway if gateway is not None and gateway.tenant_id else engine
    if who is None or not who.tenant_id:
        return None
    tokens = _tokens(gateway, engine)
    return Joined(
        request_id=who.request_id,
        ts=who.ts,
        tenant_id=UUID(who.tenant_id),
        app_id=UUID(who.app_id) if who.app_id else None,
        key_id=who.key_id or "",
        alias=who.alias or "",
        base_model=who.base_model or (engine.base_model if engine else ""),
        adapter_version_id=UUID(who.adapter_version_id) if who.adapter_version_id else None,
        worker_id=engine.worker_id if engine else (who.worker_id or ""),
        source=_source(gateway, engine),
        outcome=gateway.outcome if gateway else f"engine_{engine.finish_reason if engine else ''}",
        tokens=tokens or Tokens(prompt=0, cached=0, completion=0),
        tokens_known=tokens is not None,
        gpu_ns=engine.prefill_ns + engine.decode_ns if engine else 0,
        rate_id=(gateway.rate_id or "") if gateway else "",
    )


def _source(gateway: GatewayEvent | None, engine: EngineEvent | None) -> str:
    if gateway is None:
        return "engine_only"
    return "gateway_only" if engine is None else "matched"


def _tokens(gateway: GatewayEvent | None, engine: EngineEvent | None) -> Tokens | None:
    if engine is not None:
        return Tokens(
            prompt=engine.prompt_tokens, cached=engine.cached_tokens, completion=engine.completion_tokens
        )
    if gateway is None or gateway.prompt_tokens is None or gateway.completion_tokens is None:
        return None
    return Tokens(
        prompt=gateway.prompt_tokens,
        cached=gateway.cached_tokens or 0,
        completion=gateway.completion_tokens,
    )
