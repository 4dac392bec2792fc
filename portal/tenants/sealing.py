"""Seals the shared secrets of token issuers: the database and the snapshot hold them sealed only."""

from uuid import UUID

from django.conf import settings

from gateway_hooks.contract.sealing import SealingError, issuer_purpose, parse_sealing_keys, seal
from portal.tenants.errors import TenantError


def seal_secret(secret: str, *, tenant_id: UUID) -> str:
    """For this tenant only; gateways, with the same keys, open it. Raises ``TenantError`` without keys."""
    try:
        keys = parse_sealing_keys(settings.SECRETS_KEYS or "")
    except SealingError as error:
        message = f"TENANTRY_SECRETS_KEYS cannot be used: {error}."
        raise TenantError(message, code="secrets_keys_missing") from error
    return seal(secret, keys, purpose=issuer_purpose(str(tenant_id)))
