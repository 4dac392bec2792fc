"""An issuer's keys, parsed: each with the algorithms that fit it, so that no token can choose another use.

A public key never verifies HS…, a shared secret never anything else (RFC 8725, 3.1). Keys come from the
snapshot only; what a token's header offers (jwk, jku, x5c, x5u) is not read.
"""

import functools
import logging
import secrets
from collections import OrderedDict
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from gateway_hooks.contract.sealing import SealingError, SealingKeys, issuer_purpose, open_sealed
from gateway_hooks.contract.snapshot import Issuer

log = logging.getLogger("tenantry.gateway.identity")

SHARED = frozenset({"HS256", "HS384", "HS512"})
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
SUPPORTED = SHARED | _RSA | frozenset(_CURVES.values()) | {"EdDSA"}

MAX_RSA_BITS = 8192
"""A check takes time by the cube of the key's size; nobody needs more."""
_MIN_RSA_BITS = 2048
_PUBLIC_MEMBERS = frozenset({"kty", "n", "e", "crv", "x", "y"})


class IssuerKey(NamedTuple):
    """``kid`` None: the key has no id, so it is tried for every token."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any


class IssuerKeys:
    """Parsed on first use and kept over snapshots while the issuer is unchanged: bounded, least used goes."""

    def __init__(self, sealing_keys: SealingKeys, *, size: int = 1024) -> None:
        self._sealing_keys = sealing_keys
        self._size = size
        self._parsed: OrderedDict[str, tuple[Issuer, tuple[IssuerKey, ...]]] = OrderedDict()

    def of(self, issuer: Issuer) -> tuple[IssuerKey, ...]:
        found = self._parsed.get(issuer.id)
        if found is None or found[0] != issuer:
            found = issuer, parse_keys(issuer, self._sealing_keys)
            self._parsed[issuer.id] = found
        self._parsed.move_to_end(issuer.id)
        if len(self._parsed) > self._size:
            self._parsed.popitem(last=False)
        return found[1]


def parse_keys(issuer: Issuer, sealing_keys: SealingKeys) -> tuple[IssuerKey, ...]:
    """What is not usable is left out and reported by the issuer's id."""
    allowed = SUPPORTED & set(issuer.algorithms)
    parsed = [_public_key(jwk, allowed, issuer.id) for jwk in issuer.jwks]
    if allowed & SHARED:
        parsed += [
            _secret(sealed, issuer, allowed & SHARED, sealing_keys) for sealed in issuer.sealed_secrets
        ]
    return tuple(key for key in parsed if key is not None and key.algorithms)


def _public_key(jwk: dict[str, Any], allowed: frozenset[str], issuer_id: str) -> IssuerKey | None:
    public = {name: value for name, value in jwk.items() if name in _PUBLIC_MEMBERS}
    try:
        algorithms = _algorithms_of(jwk)
        if not algorithms:
            return None
        key = jwt.PyJWK(public, algorithm=min(algorithms)).key
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        log.error("issuer %s has an unusable public key: %s", issuer_id, type(error).__name__)  # noqa: TRY400 - its text may hold the key
        return None
    if isinstance(key, RSAPublicKey) and not _MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        log.error("issuer %s has an RSA key of %d bits", issuer_id, key.key_size)
        return None
    kid = jwk.get("kid")
    return IssuerKey(kid if isinstance(kid, str) else None, algorithms & allowed, key)


def _algorithms_of(jwk: dict[str, Any]) -> frozenset[str]:
    """By type and curve (RFC 7518, 6), narrowed by what the key itself says it is for."""
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        return frozenset()
    match jwk.get("kty"):
        case "RSA":
            fitting = _RSA
        case "EC":
            fitting = frozenset(filter(None, [_CURVES.get(str(jwk.get("crv")))]))
        case "OKP":
            fitting = frozenset({"EdDSA"} if jwk.get("crv") in {"Ed25519", "Ed448"} else ())
        case _:
            fitting = frozenset()
    return fitting & {jwk["alg"]} if isinstance(jwk.get("alg"), str) else fitting


def _secret(
    sealed: str, issuer: Issuer, algorithms: frozenset[str], sealing_keys: SealingKeys
) -> IssuerKey | None:
    try:
        text = open_sealed(sealed, sealing_keys, purpose=issuer_purpose(issuer.tenant_id))
    except SealingError as error:
        log.error("a shared secret of issuer %s does not open: %s", issuer.id, error.code)  # noqa: TRY400 - no trace needed
        return None
    return IssuerKey(None, algorithms, text.encode())


@functools.cache
def decoy(algorithm: str) -> IssuerKey:
    """A key that verifies nothing: an unknown issuer takes the time of a wrong signature."""
    if algorithm in SHARED:
        key: Any = secrets.token_bytes(64)
    elif algorithm in _RSA:
        modulus = secrets.randbits(_MIN_RSA_BITS) | 1 | 1 << (_MIN_RSA_BITS - 1)
        key = RSAPublicNumbers(65_537, modulus).public_key()
    elif algorithm == "EdDSA":
        key = Ed25519PrivateKey.generate().public_key()
    else:
        curves = {"ES256": SECP256R1(), "ES384": SECP384R1(), "ES512": SECP521R1()}
        key = generate_private_key(curves[algorithm]).public_key()
    return IssuerKey(None, frozenset({algorithm}), key)
