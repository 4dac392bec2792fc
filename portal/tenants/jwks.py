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
from queue import Empty, Queue
from threading import Thread, Timer
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError

from portal.tenants.errors import TenantError
from portal.tenants.validators import validate_jwks

MAX_BYTES = 256 * 1024
TOTAL_SECONDS = 5.0
LOOK_UP_SECONDS = 5.0
_OK = 200
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_IPV4_AT_THE_END = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


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
        found = _look_up(parts.hostname, port)
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


def _look_up(host: str, port: int) -> list[Any]:
    """``getaddrinfo`` knows no time limit, so it is waited for from outside. Raises as it does."""
    answers: Queue[Any] = Queue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:  # UnicodeError is a ValueError
            answers.put(error)

    Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=LOOK_UP_SECONDS)
    except Empty as error:
        raise TimeoutError from error
    if isinstance(answer, Exception):
        raise answer
    return list(answer)


def _is_public(address: _Address) -> bool:
    """Also for IPv4 in an IPv6 address. ``fec0::/10`` was private once, and old networks use it still."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local or address in _LOCAL_NAT64:
            return False
        address = _inside(address)
    return address.is_global and not address.is_multicast


def _inside(address: ipaddress.IPv6Address) -> _Address:
    """The IPv4 address that it stands for: mapped, 6to4, NAT64 (RFC 6052), compatible (RFC 4291, 2.5.5.1)."""
    if found := address.ipv4_mapped or address.sixtofour:
        return found
    if any(address in network for network in _IPV4_AT_THE_END):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


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
