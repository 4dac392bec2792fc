"""API key -> caller, from the snapshot alone: no network, constant time."""

import hmac
from datetime import datetime
from typing import NamedTuple

from gateway_hooks.contract.api_keys import key_id_of, key_sha256
from gateway_hooks.contract.snapshot import ApiKey, Snapshot, Tenant
from gateway_hooks.errors import Code, GatewayError

_NOBODY = key_sha256("nobody")


class Caller(NamedTuple):
    tenant: Tenant
    key: ApiKey


def identify(snapshot: Snapshot, credential: str | None, *, now: datetime) -> Caller:
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
    if tenant.status != "active":
        raise GatewayError(Code.TENANT_SUSPENDED)
    return Caller(tenant, key)
