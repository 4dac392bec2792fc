"""Where a request comes from. Only proxies that the operator named are believed about anybody else.

``X-Forwarded-For`` is a list to which every proxy appends its peer. Read from its end, the first address that
is no trusted proxy's is the client; what stands left of it is the client's own invention.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Headers = Iterable[tuple[bytes, bytes]]

MAX_HOPS = 32
_FORWARDED = b"x-forwarded-for"
_CACHED_RANGES = 16_384


def parse_networks(text: str) -> tuple[Network, ...]:
    """Comma-separated CIDR networks. Raises ``ValueError``."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def client_address(scope: Mapping[str, Any], trusted: tuple[Network, ...]) -> Address | None:
    """The peer, or whom trusted proxies name: the right-most address that is not theirs. None: unknown."""
    client = scope.get("client")
    peer = parse_address(client[0]) if client else None
    if peer is None or not within(peer, trusted):
        return peer
    hops = [hop for value in _forwarded(scope["headers"]) for hop in value.split(b",") if hop.strip()]
    found: Address | None = peer
    for hop in reversed(hops[-MAX_HOPS:]):
        found = _hop(hop)
        if found is None or not within(found, trusted):
            return found
    return found if len(hops) <= MAX_HOPS else None


def parse_address(text: str) -> Address | None:
    """An IPv4 address that is written as an IPv6 one (RFC 4291, 2.5.5.2) is taken as what it is."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def allowed(address: Address | None, ranges: tuple[str, ...]) -> bool:
    """Empty ranges: from anywhere. An unknown address and a range that does not parse allow nothing."""
    return not ranges or (address is not None and within(address, _networks(ranges)))


@lru_cache(maxsize=_CACHED_RANGES)
def _networks(ranges: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(filter(None, map(_network, ranges)))


def _network(text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _forwarded(headers: Headers) -> Iterable[bytes]:
    return (value for name, value in headers if name == _FORWARDED)


def _hop(raw: bytes) -> Address | None:
    """``192.0.2.1``, ``192.0.2.1:port``, ``2001:db8::1`` or ``[2001:db8::1]:port``."""
    text = raw.strip().decode("latin-1")
    if text.startswith("["):
        return parse_address(text[1:].partition("]")[0])
    return parse_address(text.partition(":")[0] if text.count(":") == 1 else text)
