"""``GET /v1/models``: the tenant's own aliases, and nothing that tells of others."""

from datetime import datetime
from typing import Any

from gateway_hooks.contract.snapshot import Tenant
from gateway_hooks.errors import Code, GatewayError

MODELS = "/v1/models"


def models_answer(tenant: Tenant, path: str, *, published: datetime | None) -> dict[str, Any]:
    """The list, or one alias. Raises ``GatewayError`` for any other name."""
    created = int(published.timestamp()) if published else 0
    if path == MODELS:
        return {"object": "list", "data": [_model(alias, created) for alias in sorted(tenant.aliases)]}
    alias = path.removeprefix(MODELS + "/")
    if alias not in tenant.aliases:
        raise GatewayError(Code.MODEL_NOT_FOUND, param="model")
    return _model(alias, created)


def _model(alias: str, created: int) -> dict[str, Any]:
    return {"id": alias, "object": "model", "created": created, "owned_by": "tenantry"}
