"""Fetches an issuer's public keys. The address comes from people, so it is not trusted.

The host is resolved once and the connection goes to that very address, so that no second answer of the
name server can lead elsewhere; addresses of private networks are refused unless the installation allows
them; redirects are not followed; size and time are bounded (OWASP: server-side request forgery).
"""

import http.client
import ipaddress
import json
import socket
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Timer
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError

from portal.tenants.errors import TenantError
from portal.tenants.validators import validate_jwks

MAX_BYTES = 256 * 1024
TOTAL_SECONDS = 5.0
_OK = 200


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """``private``: addresses of private networks and this host. ``http``: without TLS from anywhere."""

    private: bool
    http: bool


def fetch_jwks(url: str, *, allowed: Allowed) -> list[dict[str, Any]]:
    """The public signature keys under ``url`` (RFC 7517, 5). Raises ``TenantError``."""
    parts = urlsplit(url)
    address = _address(parts, allowed)
    try:
        raw = _get(parts, address)
    except (OSError, http.client.HTTPException) as error:
        message = f"The address did not answer: {type(error).__name__}."
        raise TenantError(message, code="jwks_unreachable") from error
    return _keys(raw)


def _address(parts: SplitResult, allowed: Allowed) -> str:
    """Where to connect: the first address of the host, if all of them are allowed."""
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username is not None:
        message = "Give an https address without user name and password."
        raise TenantError(message, code="jwks_url_invalid")
    try:
        port = parts.port or _default_port(parts)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError, UnicodeError) as error:
        message = "The host of this address is not known."
        raise TenantError(message, code="jwks_unreachable") from error
    addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]
    if not allowed.private and not all(_is_public(address) for address in addresses):
        message = "The host is in a private network. TENANTRY_ALLOW_PRIVATE_JWKS=1 would allow it."
        raise TenantError(message, code="jwks_private_address")
    loopback = all(address.is_loopback for address in addresses)
    if parts.scheme == "http" and not (allowed.http or loopback):
        message = "Keys are read over https only: whoever could change them on the way could sign tokens."
        raise TenantError(message, code="jwks_url_insecure")
    return str(addresses[0])


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Also for IPv4 in an IPv6 address."""
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    return bool(inner.is_global and not inner.is_multicast)


def _default_port(parts: SplitResult) -> int:
    return 443 if parts.scheme == "https" else 80


class _Pinned(http.client.HTTPConnection):
    """Connects to ``address``; the certificate must be that of ``host``. ``abort`` ends it from outside."""

    def __init__(self, parts: SplitResult, address: str) -> None:
        super().__init__(str(parts.hostname), parts.port or _default_port(parts), timeout=TOTAL_SECONDS)
        self._address = address
        self._tls = parts.scheme == "https"
        self._raw: socket.socket | None = None
        self.aborted = False

    def connect(self) -> None:
        self._raw = self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._tls:
            context = ssl.create_default_context()
            self._raw = self.sock = context.wrap_socket(self.sock, server_hostname=self.host)

    def abort(self) -> None:
        self.aborted = True
        if self._raw is not None:
            with suppress(OSError):  # it may have ended just now
                self._raw.shutdown(socket.SHUT_RDWR)


def _get(parts: SplitResult, address: str) -> bytes:
    """The body. However slowly the bytes drip in, it ends after ``TOTAL_SECONDS``."""
    connection = _Pinned(parts, address)
    timer = Timer(TOTAL_SECONDS, connection.abort)
    timer.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "application/json"})
        with closing(connection.getresponse()) as answer:
            raw = _body(answer)
    finally:
        timer.cancel()
        connection.close()
    if connection.aborted:
        message = f"The answer took longer than {TOTAL_SECONDS:.0f} s."
        raise TenantError(message, code="jwks_unreachable")
    return raw


def _body(answer: http.client.HTTPResponse) -> bytes:
    if answer.status != _OK:
        message = f"The address answered with status {answer.status}. Redirects are not followed."
        raise TenantError(message, code="jwks_unreachable")
    raw = answer.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        message = f"The answer is larger than {MAX_BYTES // 1024} KiB."
        raise TenantError(message, code="jwks_too_large")
    return raw


def _keys(raw: bytes) -> list[dict[str, Any]]:
    try:
        document = json.loads(raw)
        found = document["keys"]
        keys = [key for key in found if key.get("use", "sig") == "sig" and key.get("kty") != "oct"]
        validate_jwks(keys)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        message = 'The answer is no set of public keys: {"keys": [...]}, as RFC 7517 says.'
        raise TenantError(message, code="jwks_invalid") from error
    except ValidationError as error:
        raise TenantError(" ".join(error.messages), code="jwks_invalid") from error
    if not keys:
        message = "The answer has no public key for signatures."
        raise TenantError(message, code="jwks_invalid")
    return keys
