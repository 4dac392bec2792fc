"""The desk's step: the tenant's policy over a body, and what its answer needs onto the ticket."""

from typing import TYPE_CHECKING, Any

from gateway_hooks.contract.snapshot import Tenant

if TYPE_CHECKING:
    from gateway_hooks.gateway.services import Services
    from gateway_hooks.gateway.ticket import Ticket


async def masked(
    services: "Services", ticket: "Ticket", tenant: Tenant, fields: dict[str, Any]
) -> dict[str, Any]:
    """Raises ``GatewayError``: nothing may be sent."""
    fields, ticket.mask = await services.masking.mask(
        ticket.endpoint.name, fields, tenant_id=tenant.id, policy=tenant.pii
    )
    return fields
