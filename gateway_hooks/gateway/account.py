"""The end of a request: its event, and what it turned out to cost."""

import uuid
from typing import NamedTuple

from gateway_hooks.contract.pricing import charge_micro
from gateway_hooks.contract.usage import GatewayEvent
from gateway_hooks.gateway.ticket import Ticket
from gateway_hooks.metering.usage import Usage

_NOT_RUN = frozenset(range(400, 500)) | {503}
"""Answers by which a worker says that it did not run the request."""


class Settlement(NamedTuple):
    """None where the gateway cannot know: then the reservation stands until the engine's event."""

    tokens: int | None
    micro: int | None


def usage_known(ticket: Ticket) -> Usage | None:
    """The engine's counts; nothing for what never ran; None where it may have run uncounted.

    A client that hung up has no count even if the engine's last chunk passed: only a whole answer counts.
    """
    if ticket.tap is not None and ticket.tap.complete and ticket.tap.usage is not None:
        return ticket.tap.usage
    return Usage(0, 0, 0) if ticket.upstream_status in _NOT_RUN or not ticket.forwarded else None


def settlement(ticket: Ticket) -> Settlement:
    usage = usage_known(ticket)
    if usage is None or ticket.route is None or ticket.route.price is None:
        return Settlement(None, None)
    micro = charge_micro(
        ticket.route.price,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
    )
    return Settlement(usage.prompt_tokens + usage.completion_tokens, micro)


def event_of(ticket: Ticket, *, gateway_id: str, now: float) -> GatewayEvent:
    """``now`` is monotonic seconds."""
    usage = usage_known(ticket) if ticket.forwarded else None
    caller, route, ask = ticket.caller, ticket.route, ticket.ask
    worker = ticket.forward.worker if ticket.forward else None
    taken = ask if ticket.admitted else None
    return GatewayEvent(
        event_id=uuid.uuid4().hex,
        request_id=ticket.request_id,
        gateway_id=gateway_id,
        ts=ticket.ts,
        endpoint=ticket.endpoint.name,
        stream=ticket.stream,
        outcome=ticket.outcome,
        http_status=ticket.status,
        reason=ticket.reason,
        tenant_id=caller.tenant.id if caller else None,
        app_id=caller.key.app_id if caller else None,
        key_id=caller.key.id if caller else None,
        alias=ticket.body.alias if ticket.body else None,
        pool_id=route.pool_id if route else None,
        worker_id=worker.id if worker else None,
        base_model=route.base_model if route else None,
        adapter_version_id=route.adapter_version_id if route else None,
        adapter_digest=route.adapter_digest if route else None,
        forwarded=ticket.forwarded,
        prompt_tokens=usage.prompt_tokens if usage else None,
        cached_tokens=usage.cached_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        reserved_tokens=taken.tokens if taken else 0,
        reserved_micro=taken.micro if taken else 0,
        rate_id=route.price.rate_id if route and route.price else None,
        ttft_us=None if ticket.first_byte is None else _micros(ticket.first_byte - ticket.started),
        duration_us=_micros(now - ticket.started),
        snapshot_version=ticket.snapshot_version,
    )


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)
