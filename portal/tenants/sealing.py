"""Seals the shared secrets of token issuers: the database and the snapshot hold them sealed only."""

from collections.abc import Iterable
from uuid import UUID

from django.conf import settings

from gateway_hooks.contract.sealing import (
    SealingError,
    SealingKeys,
    issuer_purpose,
    open_sealed,
    parse_sealing_keys,
    seal,
)
from portal.tenants.errors import TenantError


def seal_secret(secret: str, *, tenant_id: UUID) -> str:
    """For this tenant only; gateways, with the same keys, open it. Raises ``TenantError`` without keys."""
    return seal(secret, _keys(), purpose=issuer_purpose(str(tenant_id)))


def open_secrets(sealed: Iterable[str], *, tenant_id: UUID) -> list[str]:
    """What ``seal_secret`` sealed. Raises ``TenantError`` without its keys."""
    keys, purpose = _keys(), issuer_purpose(str(tenant_id))
    try:
        return [open_sealed(one, keys, purpose=purpose) for one in sealed]
    except SealingError as error:
        message = "TENANTRY_SECRETS_KEYS do not open a secret of this issuer. Rotate it first."
        raise TenantError(message, code="secrets_keys_missing") from error


def _keys() -> SealingKeys:
    try:
        return parse_sealing_keys(settings.SECRETS_KEYS or "")
    except SealingError as error:
        message = f"TENANTRY_SECRETS_KEYS cannot be used: {error}."
        raise TenantError(message, code="secrets_keys_missing") from error
