"""Whom an app serves, as a keyed hash: neither events nor Redis ever hold what the app calls its users."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.identity.caller import Caller

HASH_LENGTH = 32
MAX_NAME_LENGTH = 512
_LABEL = b"tenantry/end-user"


def hash_end_user(secret: bytes, *, tenant_id: str, name: str) -> str:
    """128 bits in hex; the same name in two tenants has nothing in common."""
    parts = (_LABEL, tenant_id.encode(), name.encode("utf-8", "surrogatepass"))
    return hmac.new(secret, b"\n".join(parts), hashlib.sha256).hexdigest()[:HASH_LENGTH]


def end_user_of(document: Mapping[str, Any], endpoint_name: str) -> str | None:
    """What a body calls its user: ``metadata.user_id`` of messages, else ``safety_identifier`` or ``user``.

    Raises ``GatewayError`` for anything but a short string; null and empty are absent.
    """
    if endpoint_name == "messages":
        metadata = document.get("metadata")
        named = metadata.get("user_id") if isinstance(metadata, dict) else None
        return _name(named, "metadata.user_id")
    return _name(document.get("safety_identifier"), "safety_identifier") or _name(
        document.get("user"), "user"
    )


def _name(value: Any, param: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_NAME_LENGTH:
        message = f"`{param}` must be a string of at most {MAX_NAME_LENGTH} characters."
        raise GatewayError(Code.INVALID_PARAMETER, message, param=param)
    return value or None


def end_user_for(caller: Caller, named: str | None, *, secret: bytes) -> str | None:
    """The hash that counts. Where a token tells the end user, a body cannot: its sender may be that user."""
    if caller.issuer is not None and caller.issuer.claims.end_user:
        return caller.end_user
    return None if named is None else hash_end_user(secret, tenant_id=caller.tenant.id, name=named)
