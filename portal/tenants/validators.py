"""What keys', issuers' and configurations' structured fields may hold. Messages never repeat a secret."""

import ipaddress
import re
from typing import Any

import msgspec
from django.core.exceptions import ValidationError

from gateway_hooks.configuration import ConfigurationError, validate
from gateway_hooks.contract.snapshot import Configuration
from portal.core.storable import validate_storable
from portal.tiers.validators import validate_pii_policy

SHARED_SECRET_ALGORITHMS = ("HS256", "HS384", "HS512")
PUBLIC_KEY_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
ALGORITHMS = SHARED_SECRET_ALGORITHMS + PUBLIC_KEY_ALGORITHMS
MAX_ENTRIES = 100
MAX_PUBLIC_KEYS = 20
_ALIAS = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PRIVATE_PARTS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def validate_networks(value: Any) -> None:
    """CIDR networks (RFC 4632) without bits beside the prefix; a single address is one too."""
    for text in _strings(value, "List networks, such as 192.0.2.0/24.", code="networks_invalid"):
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            message = f"{text[:60]!r} is no network: {_why(text)}"
            raise ValidationError(message, code="networks_invalid") from error


def _why(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "write it like 192.0.2.0/24 or 2001:db8::/32."
    return f"did you mean {network}?"


def validate_alias_names(value: Any) -> None:
    """None, or aliases by name: one that does not exist yet may be listed."""
    if value is None:
        return
    for name in _strings(value, "List names of aliases.", code="aliases_invalid"):
        if not _ALIAS.fullmatch(name):
            message = f"{name[:63]!r} cannot be an alias."
            raise ValidationError(message, code="aliases_invalid")


def validate_algorithms(value: Any) -> None:
    """One family only: with both, a public key could be taken for a shared secret (RFC 8725, 3.1)."""
    names = _strings(value, "List at least one algorithm.", code="algorithms_invalid")
    known = (SHARED_SECRET_ALGORITHMS, PUBLIC_KEY_ALGORITHMS)
    if not names or not any(set(names) <= set(family) for family in known):
        message = (
            f"Choose from {', '.join(SHARED_SECRET_ALGORITHMS)}, "
            f"or from {', '.join(PUBLIC_KEY_ALGORITHMS)}; never from both."
        )
        raise ValidationError(message, code="algorithms_invalid")


def validate_jwks(value: Any) -> None:
    """Public keys as JWK (RFC 7517), without a private or symmetric part."""
    if not isinstance(value, list) or len(value) > MAX_PUBLIC_KEYS:
        message = f"List at most {MAX_PUBLIC_KEYS} public keys as JWK objects."
        raise ValidationError(message, code="jwks_invalid")
    validate_storable(value)
    for key in value:
        if not isinstance(key, dict) or key.get("kty") not in {"RSA", "EC", "OKP"}:
            message = "Each key must be a JWK object whose kty is RSA, EC or OKP."
            raise ValidationError(message, code="jwks_invalid")
        if _PRIVATE_PARTS & set(key):
            message = "A key has a private part. Give the public one, and replace this pair."
            raise ValidationError(message, code="jwks_private")


def validate_content(value: Any) -> None:
    """A configuration's content that could be published; see ``TenantConfiguration``."""
    validate_storable(value)
    try:
        validate(configuration_of(value, version=0))
    except ConfigurationError as error:
        texts = [f"{problem.field} {problem.why}" for problem in error.problems]
        raise ValidationError(texts, code=error.code) from error
    validate_pii_policy(value.get("pii"))


def configuration_of(content: Any, *, version: int) -> Configuration:
    """As gateways read it. Raises ``ValidationError`` for what has not even the form."""
    if not isinstance(content, dict):
        message = "A configuration is an object."
        raise ValidationError(message, code="configuration_invalid")
    known = {*Configuration.__struct_fields__, "pii"} - {"version"}
    if unknown := sorted(set(content) - known):
        message = f"A configuration has no {', '.join(map(str, unknown))[:200]}."
        raise ValidationError(message, code="configuration_invalid")
    fields = {name: part for name, part in content.items() if name != "pii"}
    try:
        return msgspec.convert({**fields, "version": version}, Configuration)
    except msgspec.ValidationError as error:
        message = f"The configuration does not fit: {error}"
        raise ValidationError(message, code="configuration_invalid") from error


def _strings(value: Any, message: str, *, code: str) -> list[str]:
    good = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    if not good or len(value) > MAX_ENTRIES or len(set(value)) < len(value):
        text = f"{message} At most {MAX_ENTRIES}, each once."
        raise ValidationError(text, code=code)
    return list(value)
