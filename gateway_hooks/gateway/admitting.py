"""An admission: the limits of all scopes, then a seat in the pool. Whatever was taken is on the ticket."""

import asyncio
import time

import msgspec

from gateway_hooks.admission.ask import Ask, Scope
from gateway_hooks.admission.effective import effective
from gateway_hooks.admission.periods import day_and_month
from gateway_hooks.admission.recent import Who
from gateway_hooks.contract.usage import GatewayEvent
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.fairness.ask import SeatAsk
from gateway_hooks.fairness.errors import FairnessError
from gateway_hooks.gateway.account import event_of
from gateway_hooks.gateway.intake import Prepared
from gateway_hooks.gateway.limits_view import refusal_error
from gateway_hooks.gateway.plan import price_to_reserve
from gateway_hooks.gateway.reading import ClientGone
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.ticket import Ticket
from gateway_hooks.identity import Caller
from gateway_hooks.identity.scopes import limits_of
from gateway_hooks.redis_door import RedisAway

_MICROS = 1_000_000


def refuse_again(services: Services, ticket: Ticket, caller: Caller) -> None:
    """Before any work is done: a caller that is over its requests per minute hears it again."""
    refused = services.refusals.of(_who(ticket, caller), now=time.monotonic())
    if refused is not None:
        ticket.ask, ticket.verdict = refused.ask, refused.verdict
        raise refusal_error(refused.verdict)


def _who(ticket: Ticket, caller: Caller) -> Who:
    return caller.tenant.id, caller.key.id, ticket.end_user


async def take_limits(services: Services, ticket: Ticket, caller: Caller, prepared: Prepared) -> int:
    """The output per choice that fits all limits. Raises ``GatewayError``; while Redis is away by policy."""
    now = time.monotonic()
    # Noted before asking: an answer that never came may still have taken, so the end gives it back.
    ask = ticket.ask = ask_of(ticket, caller, prepared)
    try:
        ticket.verdict = await services.door.ask(lambda _: services.ledger.admit(ask), now=now)
        services.leases.hold(ask, now=now)
    except RedisAway as away:
        ticket.limits_unknown = away.__cause__ is not None
        ticket.verdict = services.outage.admit(caller.tenant, ask, now=now)
        ticket.on_allowance = ticket.verdict.refusal is None
        if ticket.on_allowance:
            services.metrics.outage_admitted(caller.tenant.slug)
    if ticket.verdict.refusal is not None:
        services.leases.drop(ask.request_id)
        services.refusals.note(_who(ticket, caller), ask, ticket.verdict, now=now)
        raise refusal_error(ticket.verdict)
    return ticket.verdict.max_output


def ask_of(ticket: Ticket, caller: Caller, prepared: Prepared) -> Ask:
    tenant, plan = caller.tenant, prepared.plan
    limits = effective(tenant.limits, tenant.temporary_limits, ticket.ts)
    price = price_to_reserve(plan)
    day, month = day_and_month(ticket.ts, tenant.billing_timezone)
    return Ask(
        request_id=ticket.request_id,
        tenant_id=tenant.id,
        at_ms=round(ticket.ts.timestamp() * 1000),
        day=day,
        month=month,
        prompt_tokens=prepared.prompt_tokens,
        max_output=plan.max_output,
        choices=plan.choices,
        clamp=tenant.clamp_output,
        input_micro=max(price.input_micro, price.cached_input_micro),
        output_micro=price.output_micro,
        kv_bytes_per_token=plan.pool.kv_bytes_per_token,
        scopes=tuple(
            Scope(name, scope_limits)
            for name, scope_limits in limits_of(caller, ticket.end_user, tenant_limits=limits).items()
        ),
    )


async def take_seat(services: Services, ticket: Ticket, gone: "asyncio.Task[None]") -> None:
    """Wait for a seat as long as the tenant's wait budget. Raises ``GatewayError``, ``ClientGone``."""
    if ticket.on_allowance:
        return  # Redis is away, and with it the queue; the allowance is small.
    ask = _seat_ask(services, ticket)
    now = time.monotonic()
    entering = asyncio.create_task(services.door.ask(lambda _: services.queue.enter(ask), now=now))
    try:
        await asyncio.wait({entering, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not entering.done():
            raise ClientGone
        ticket.seat = entering.result()
    except FairnessError as error:
        raise GatewayError(Code(error.code), retry_after=error.retry_after) from None
    except RedisAway:
        raise GatewayError(Code.LIMITS_UNAVAILABLE, retry_after=2.0) from None
    finally:
        waited = round((time.monotonic() - now) * _MICROS)
        ticket.queue_us = ticket.seat.waited_us if ticket.seat else waited
        if not entering.done():
            entering.cancel()
            await asyncio.wait({entering})


def _seat_ask(services: Services, ticket: Ticket) -> SeatAsk:
    plan, ask, verdict = ticket.plan, ticket.ask, ticket.verdict
    if plan is None or ask is None or verdict is None:
        raise GatewayError(Code.GATEWAY_ERROR)
    tenant = plan.caller.tenant
    return SeatAsk(
        pool_id=plan.pool.id,
        request_id=ticket.request_id,
        tenant_id=tenant.id,
        tokens=ask.tokens(verdict.max_output),
        weight=tenant.weight,
        band=tenant.band,
        queue_depth=tenant.queue_depth,
        wait_ms=tenant.queue_wait_ms,
        info=last_words(services, ticket),
    )


def last_words(services: Services, ticket: Ticket) -> bytes:
    """What another gateway says of this request should this one die; the counts are the engine's to tell."""
    event = event_of(ticket, gateway_id=services.settings.gateway_id, now=ticket.started)
    lost: GatewayEvent = msgspec.structs.replace(
        event, outcome="gateway_lost", reason="gateway_lost", http_status=0
    )
    return msgspec.json.encode(lost)
