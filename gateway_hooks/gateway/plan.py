"""From an alias to who may serve it, and from there to one try at one worker."""

import time

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.identity import adapter_model_name, cache_salt
from gateway_hooks.contract.pricing import Price
from gateway_hooks.contract.snapshot import Pool, Snapshot, Target
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.body.endpoints import EndpointName
from gateway_hooks.gateway.body.parse import Body
from gateway_hooks.gateway.seal import Seal
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.ticket import Forward, Plan, Ticket
from gateway_hooks.identity import Caller
from gateway_hooks.routing.choice import RETRY_SECONDS
from gateway_hooks.routing.versions import choose, conversation_key, dearest, resolve


def plan_for(
    ticket: Ticket, snapshot: Snapshot, caller: Caller, body: Body, *, end_user: str | None = None
) -> Plan:
    """Who serves this conversation. ``max_output`` is not yet known. Raises ``GatewayError``.

    ``ticket.route`` is the target until a fallback serves.
    """
    tenant, endpoint = caller.tenant, ticket.endpoint.name
    route = resolve(tenant, body.alias)
    shared = route.canary is not None or route.shadow is not None
    conversation = conversation_key(body.fields, end_user=end_user) if shared else ""
    chosen = choose(route, conversation=conversation, tenant_id=tenant.id, alias=body.alias)
    target = ticket.route = chosen.target
    pool = snapshot.pools.get(target.pool_id)
    if pool is None:
        raise GatewayError(Code.NO_WORKER)
    if endpoint not in pool.endpoints:
        raise GatewayError(Code.ENDPOINT_NOT_SUPPORTED)
    if target.price is None:
        raise GatewayError(Code.PRICE_MISSING)
    # What is on trial has the version that everybody else gets to fall back to.
    before = route.fallback if target is route else route
    usable = _is_usable(snapshot, before, endpoint, than=target)
    return Plan(
        caller=caller,
        pool=pool,
        alias=body.alias,
        target=target,
        served=chosen.served,
        max_output=0,
        choices=body.choices,
        fallback=before if usable else None,
        shadow=chosen.shadow if _serves(snapshot, chosen.shadow, endpoint) else None,
    )


def _is_usable(snapshot: Snapshot, fallback: Target | None, endpoint: EndpointName, *, than: Target) -> bool:
    """Another version than the one that it stands in for, and one that can be charged."""
    if fallback is None or fallback.price is None or not _serves(snapshot, fallback, endpoint):
        return False
    return (fallback.pool_id, fallback.adapter_digest) != (than.pool_id, than.adapter_digest)


def _serves(snapshot: Snapshot, target: Target | None, endpoint: EndpointName) -> bool:
    pool: Pool | None = snapshot.pools.get(target.pool_id) if target is not None else None
    return pool is not None and endpoint in pool.endpoints


def price_to_reserve(plan: Plan) -> Price:
    """The dearer of target and fallback, rate by rate: either may serve."""
    targets = [plan.target, *([plan.fallback] if plan.fallback else [])]
    return dearest([target.price for target in targets if target.price is not None])


def refuse_without_worker(services: Services, plan: Plan) -> None:
    """Raises ``GatewayError`` where no try could even start, before anything is taken for it."""
    targets = [plan.target, *([plan.fallback] if plan.fallback else [])]
    if not services.router.can_serve(targets, tenant_id=plan.caller.tenant.id, now=time.monotonic()):
        raise GatewayError(Code.NO_WORKER, retry_after=RETRY_SECONDS)


def forward_to(ticket: Ticket, plan: Plan, target: Target, worker: WorkerRecord, *, salt: bytes) -> Forward:
    """One try. ``salt`` is the secret of the cache salts."""
    digest = target.adapter_digest
    seal = Seal(
        path=ticket.endpoint.upstream,
        model=adapter_model_name(digest) if digest else target.base_model,
        cache_salt=cache_salt(salt, tenant_id=plan.caller.tenant.id, adapter_digest=digest),
        max_output=plan.max_output,
        stream=ticket.stream,
        choices=plan.choices,
    )
    return Forward(plan.caller, target, worker, plan.alias, seal)


def begin_try(services: Services, ticket: Ticket, forward: Forward) -> None:
    """Note the try at the ticket, and as the worker's load."""
    end_load(services, ticket)
    tenant_id = forward.caller.tenant.id
    services.router.begin(forward.worker.id, forward.route, tenant_id=tenant_id, now=time.monotonic())
    ticket.begin(forward)
    ticket.loads = forward.worker.id


def end_load(services: Services, ticket: Ticket) -> None:
    """Once per try, however often it is called: whoever has the answer is no load any more."""
    if ticket.loads is not None:
        services.router.give_back(ticket.loads)
        ticket.loads = None
