"""What a checked body becomes before anything is asked for: configured, planned, masked, counted, capped."""

from typing import Any, NamedTuple

import msgspec

from gateway_hooks.configuration import configure
from gateway_hooks.contract.snapshot import Snapshot
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.body.parse import Body, clamp_output
from gateway_hooks.gateway.plan import plan_for
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.ticket import Plan, Ticket
from gateway_hooks.identity import Caller


class Prepared(NamedTuple):
    """``fields`` go on, with ``plan.max_output`` in them. ``prompt_tokens``: as the engine will count."""

    plan: Plan
    fields: dict[str, Any]
    prompt_tokens: int

    def with_output(self, max_output: int, output_name: str | None) -> "Prepared":
        """The same with less output, as the admission granted it."""
        fields = self.fields if output_name is None else {**self.fields, output_name: max_output}
        return self._replace(plan=self.plan._replace(max_output=max_output), fields=fields)


async def prepare(
    services: Services, ticket: Ticket, snapshot: Snapshot, caller: Caller, body: Body
) -> Prepared:
    """Raises ``GatewayError``; nothing is taken yet, and the ticket knows only plan and mask."""
    tenant = caller.tenant
    configured, cap = body, tenant.max_output_tokens
    if tenant.configuration is not None:
        configured, own_cap = configure(body, tenant.configuration, ticket.endpoint)
        cap = min(cap, own_cap or cap)
    plan = plan_for(ticket, snapshot, caller, configured, end_user=ticket.end_user)
    if tenant.pii is not None:
        fields, ticket.mask = await services.masking.mask(
            ticket.endpoint.name, configured.fields, tenant_id=tenant.id, policy=tenant.pii
        )
        configured = msgspec.structs.replace(configured, fields=fields)
    prompt = await services.counter.count(plan.pool, ticket.endpoint.name, configured.fields)
    room = plan.pool.max_model_len - prompt
    if room < int(ticket.endpoint.generates):
        raise GatewayError(Code.CONTEXT_LENGTH_EXCEEDED)
    if body.max_output is None or tenant.clamp_output:
        # Nobody asked for more than there is room for; who did hears it from the model.
        cap = min(cap, room)
    fields, max_output = clamp_output(
        configured, ticket.endpoint, limit=min(cap, plan.pool.max_model_len - 1)
    )
    ticket.plan = plan._replace(max_output=max_output)
    return Prepared(ticket.plan, fields, prompt)
