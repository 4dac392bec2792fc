"""``GET /v1/models``: the aliases that this caller may use, and nothing that tells of others."""

from datetime import datetime
from typing import Any

from gateway_hooks.contract.snapshot import Tenant
from gateway_hooks.errors import Code, GatewayError

MODELS = "/v1/models"


def models_answer(
    tenant: Tenant, path: str, *, published: datetime | None, aliases: frozenset[str] | None = None
) -> dict[str, Any]:
    """The list, or one alias. ``aliases`` None: all of the tenant's. Raises ``GatewayError`` for others."""
    created = int(published.timestamp()) if published else 0
    visible = tenant.aliases.keys() if aliases is None else tenant.aliases.keys() & aliases
    if path == MODELS:
        return {"object": "list", "data": [_model(alias, created) for alias in sorted(visible)]}
    alias = path.removeprefix(MODELS + "/")
    if alias not in visible:
        raise GatewayError(Code.MODEL_NOT_FOUND, param="model")
    return _model(alias, created)


def _model(alias: str, created: int) -> dict[str, Any]:
    return {"id": alias, "object": "model", "created": created, "owned_by": "tenantry"}
