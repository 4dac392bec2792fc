"""API key -> caller, from the snapshot alone: no network, constant time."""

import hmac
from datetime import datetime

from gateway_hooks.contract.api_keys import key_id_of, key_sha256
from gateway_hooks.contract.snapshot import ApiKey, Snapshot, Tenant
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.identity.address import Address, allowed
from gateway_hooks.identity.caller import Caller

_NOBODY = key_sha256("nobody")


def identify(
    snapshot: Snapshot, credential: str | None, *, now: datetime, address: Address | None = None
) -> Caller:
    """Who this key is. Raises ``GatewayError``.

    A malformed, an unknown and a revoked key look the same from outside, and take the same time: the
    digest is compared in every case.
    """
    if not credential:
        raise GatewayError(Code.MISSING_API_KEY)
    key = snapshot.keys.get(key_id_of(credential) or "")
    known = hmac.compare_digest(key.sha256 if key else _NOBODY, key_sha256(credential))
    tenant = snapshot.tenants.get(key.tenant_id) if key else None
    if not known or key is None or tenant is None:
        raise GatewayError(Code.INVALID_API_KEY)
    if key.expires_at is not None and key.expires_at <= now:
        raise GatewayError(Code.KEY_EXPIRED)
    check_door(tenant, key, address)
    app = snapshot.apps.get(key.app_id)
    return Caller(
        tenant,
        key,
        app=app if app is not None and app.tenant_id == tenant.id else None,
        aliases=None if key.aliases is None else frozenset(key.aliases) & tenant.aliases.keys(),
    )


def check_door(tenant: Tenant, key: ApiKey, address: Address | None) -> None:
    """What is told only to who has proved to be somebody. Raises ``GatewayError``."""
    if tenant.status != "active":
        raise GatewayError(Code.TENANT_SUSPENDED)
    if not allowed(address, key.ip_ranges):
        raise GatewayError(Code.IP_NOT_ALLOWED)
