"""A token's form, signature and times (JWT, RFC 7519; RFC 8725). PyJWT does the cryptography."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import jwt
import msgspec

from gateway_hooks.contract.snapshot import Issuer
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.identity.issuer_keys import SUPPORTED, IssuerKey

MAX_TOKEN_LENGTH = 16_384
MAX_AUDIENCES = 16
_PART = r"[A-Za-z0-9_-]+"
_TOKEN = re.compile(rf"{_PART}\.{_PART}\.{_PART}")
_MAX_DATE = 1 << 53
_JWS = jwt.PyJWS(algorithms=sorted(SUPPORTED), options={"enforce_minimum_key_length": True})


class Claimed(NamedTuple):
    """What a token says before it is verified: good only for choosing whose keys to try."""

    algorithm: str
    kid: str | None
    issuer: str
    audiences: tuple[str, ...]


class Window(NamedTuple):
    """Seconds since 1970: good in ``[start, end)``."""

    start: float
    end: float


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None


class _Payload(msgspec.Struct):
    iss: str
    aud: str | list[str]


def looks_like_token(credential: str) -> bool:
    """Three parts: no API key has a dot."""
    return credential.count(".") == 2  # noqa: PLR2004 - header.payload.signature


def read_unverified(token: str) -> Claimed:
    """Raises ``GatewayError``."""
    if len(token) > MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
        raise GatewayError(Code.INVALID_TOKEN)
    coded_header, coded_payload, _ = token.split(".")
    try:
        header = msgspec.json.decode(_decoded(coded_header), type=_Header)
        payload = msgspec.json.decode(_decoded(coded_payload), type=_Payload)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, RecursionError) as error:
        raise GatewayError(Code.INVALID_TOKEN) from error
    audiences = (payload.aud,) if isinstance(payload.aud, str) else tuple(payload.aud)
    if header.alg not in SUPPORTED or len(audiences) > MAX_AUDIENCES:
        raise GatewayError(Code.INVALID_TOKEN)
    return Claimed(header.alg, header.kid, payload.iss, audiences)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def fitting(keys: Iterable[IssuerKey], claimed: Claimed) -> list[IssuerKey]:
    """By algorithm; a token's ``kid`` leaves the key of that id and those without one."""
    return [
        key
        for key in keys
        if claimed.algorithm in key.algorithms and (None in {claimed.kid, key.kid} or claimed.kid == key.kid)
    ]


def verified_claims(token: str, keys: Iterable[IssuerKey]) -> dict[str, Any]:
    """The claims, if one of the keys signed them. Raises ``GatewayError``."""
    for key in keys:
        try:
            payload = _JWS.decode(token, key.key, algorithms=sorted(key.algorithms))
            return msgspec.json.decode(payload, type=dict[str, Any])
        except jwt.PyJWTError:
            continue
        except (msgspec.DecodeError, RecursionError) as error:
            raise GatewayError(Code.INVALID_TOKEN) from error
    raise GatewayError(Code.INVALID_TOKEN)


def window_of(claims: dict[str, Any], issuer: Issuer) -> Window:
    """Raises ``GatewayError`` where a time is missing or is none.

    ``exp`` is required; ``iat`` is, too, where the issuer's tokens have a greatest age (0: they have none).
    """
    issued = _date(claims, "iat", required=issuer.max_age_seconds > 0)
    ends = [_date(claims, "exp", required=True)]
    if issuer.max_age_seconds > 0 and issued is not None:
        ends.append(issued + issuer.max_age_seconds)
    starts = [_date(claims, "nbf", required=False), issued]
    return Window(
        max((start for start in starts if start is not None), default=0.0) - issuer.leeway_seconds,
        min(end for end in ends if end is not None) + issuer.leeway_seconds,
    )


def check_window(window: Window, *, now: float) -> None:
    """Raises ``GatewayError``."""
    if now < window.start:
        raise GatewayError(Code.TOKEN_NOT_YET_VALID)
    if now >= window.end:
        raise GatewayError(Code.TOKEN_EXPIRED)


def _date(claims: dict[str, Any], name: str, *, required: bool) -> float | None:
    value = claims.get(name)
    if value is None and not required:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MAX_DATE:
        return float(value)
    raise refused(name, "is missing or no time")


def refused(claim: str, why: str) -> GatewayError:
    """Of a token whose signature is good: its issuer may know what is wrong with it."""
    return GatewayError(Code.INVALID_TOKEN, f"The token is not valid: its `{claim}` {why}.")
