"""The end of a request: its event, and what it turned out to cost."""

from typing import NamedTuple

from gateway_hooks.contract.pricing import charge_micro
from gateway_hooks.contract.usage import GatewayEvent, gateway_event_id
from gateway_hooks.gateway.ticket import NOT_RUN, Ticket
from gateway_hooks.metering.usage import Usage


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
    not_run = ticket.upstream_status in NOT_RUN or not ticket.forwarded
    return Usage(0, 0, 0) if not_run and not ticket.uncounted else None


def settlement(ticket: Ticket) -> Settlement:
    """Where an earlier try may have run, the engines' events decide what the request comes to."""
    usage = None if ticket.uncounted else usage_known(ticket)
    if usage is None or ticket.route is None or ticket.route.price is None:
        return Settlement(None, None)
    micro = charge_micro(
        ticket.route.price,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
    )
    return Settlement(usage.prompt_tokens + usage.completion_tokens, micro)


class RefusedBy(NamedTuple):
    """Which limit said no; nothing for a request that no limit refused."""

    scope: str | None = None
    limit: int | None = None
    used: int | None = None
    asked: int | None = None


def refusal_of(ticket: Ticket) -> RefusedBy:
    ask, verdict = ticket.ask, ticket.verdict
    if ask is None or verdict is None or verdict.refusal in {None, "limits_unavailable"}:
        return RefusedBy()
    return RefusedBy(ask.scopes[verdict.scope].name, verdict.limit, verdict.used, verdict.asked)


def event_of(ticket: Ticket, *, gateway_id: str, now: float) -> GatewayEvent:
    """``now`` is monotonic seconds."""
    forwarded = ticket.may_have_run
    usage = usage_known(ticket) if forwarded else None
    caller, route, ask, verdict = ticket.caller, ticket.route, ticket.ask, ticket.verdict
    worker = ticket.forward.worker if ticket.forward else None
    configuration = caller.tenant.configuration if caller else None
    refusal = refusal_of(ticket)
    return GatewayEvent(
        event_id=gateway_event_id(ticket.request_id),
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
        issuer_id=caller.issuer.id if caller and caller.issuer else None,
        end_user=ticket.end_user,
        configuration_version=configuration.version if configuration else None,
        alias=_alias(ticket),
        pool_id=route.pool_id if route else None,
        worker_id=worker.id if worker else None,
        base_model=route.base_model if route else None,
        adapter_version_id=route.adapter_version_id if route else None,
        adapter_digest=route.adapter_digest if route else None,
        forwarded=forwarded,
        prompt_tokens=usage.prompt_tokens if usage else None,
        cached_tokens=usage.cached_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        reserved_tokens=ask.tokens(verdict.max_output) if ask and verdict and ticket.admitted else 0,
        reserved_micro=verdict.micro if verdict and ticket.admitted else 0,
        counted_prompt_tokens=ticket.counted_prompt,
        max_output_tokens=verdict.max_output if verdict and ticket.admitted else None,
        clamped=bool(ask and verdict and ticket.admitted and verdict.max_output < ask.max_output),
        choices=ticket.plan.choices if ticket.plan else 1,
        queue_us=ticket.queue_us,
        pii_counts=dict(ticket.mask.counts) if ticket.mask else {},
        refused_scope=refusal.scope,
        refused_limit=refusal.limit,
        refused_used=refusal.used,
        refused_asked=refusal.asked,
        rate_id=route.price.rate_id if route and route.price and not ticket.shadow_of else None,
        served=ticket.served,
        degraded=ticket.degraded,
        attempts=ticket.attempts,
        shadow_of=ticket.shadow_of,
        ttft_us=None if ticket.first_byte is None else _micros(ticket.first_byte - ticket.started),
        duration_us=_micros(now - ticket.started),
        snapshot_version=ticket.snapshot_version,
    )


def _alias(ticket: Ticket) -> str | None:
    """A name that is none of the tenant's is a client's own text, and may hold anything."""
    if ticket.caller is None or ticket.body is None:
        return None
    return ticket.body.alias if ticket.body.alias in ticket.caller.tenant.aliases else None


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)
