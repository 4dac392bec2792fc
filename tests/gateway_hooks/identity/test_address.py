"""Where a request comes from: what a client says of itself never counts."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.errors import GatewayError
from gateway_hooks.identity.address import MAX_HOPS, allowed, client_address, parse_address, parse_networks
from tests.gateway_hooks import world
from tests.gateway_hooks.identity.issuers import ACME, identify, index, issuer, token

PROXIES = parse_networks("10.0.0.0/8, 2001:db8:ff::/48")


def seen(peer: str | None, *forwarded: str, trusted=PROXIES) -> str | None:
    headers = [(b"host", b"x"), *((b"x-forwarded-for", value.encode()) for value in forwarded)]
    scope = {"client": (peer, 1234) if peer else None, "headers": headers}
    address = client_address(scope, trusted)
    return str(address) if address else None


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", (), "192.0.2.7"),
        ("192.0.2.7", ("198.51.100.1",), "192.0.2.7"),
        ("10.1.1.1", (), "10.1.1.1"),
        ("10.1.1.1", ("192.0.2.7",), "192.0.2.7"),
        ("10.1.1.1", ("198.51.100.1, 192.0.2.7",), "192.0.2.7"),
        ("10.1.1.1", ("198.51.100.1", "192.0.2.7"), "192.0.2.7"),
        ("10.1.1.1", ("198.51.100.1, 192.0.2.7, 10.2.2.2",), "192.0.2.7"),
        ("10.1.1.1", ("198.51.100.1, 192.0.2.7", "10.2.2.2, 10.3.3.3"), "192.0.2.7"),
        ("10.1.1.1", ("10.2.2.2",), "10.2.2.2"),
        ("10.1.1.1", ("198.51.100.1, nonsense",), None),
        ("10.1.1.1", ("198.51.100.1, unknown, 10.2.2.2",), None),
        ("10.1.1.1", ("192.0.2.7:5555",), "192.0.2.7"),
        ("10.1.1.1", ("192.0.2.7, ,",), "192.0.2.7"),
        ("10.1.1.1", ("",), "10.1.1.1"),
        ("::ffff:10.1.1.1", ("192.0.2.7",), "192.0.2.7"),
        ("10.1.1.1", ("::ffff:192.0.2.7",), "192.0.2.7"),
        ("::ffff:192.0.2.7", ("198.51.100.1",), "192.0.2.7"),
        ("2001:db8:ff::1", ("2001:db8::7",), "2001:db8::7"),
        ("2001:db8:ff::1", ("[2001:db8::7]:443",), "2001:db8::7"),
        ("fe80::1%eth0", (), "fe80::1"),
        (None, ("192.0.2.7",), None),
        ("a unix socket", ("192.0.2.7",), None),
    ],
    ids=str,
)
def test_the_right_most_address_that_is_no_proxys_counts(peer, forwarded, client):
    assert seen(peer, *forwarded) == client


def test_without_trusted_proxies_nobody_is_believed():
    assert seen("10.1.1.1", "192.0.2.7", trusted=()) == "10.1.1.1"


def test_a_chain_of_more_proxies_than_anybody_has_names_nobody():
    assert seen("10.1.1.1", ", ".join(["10.2.2.2"] * MAX_HOPS)) == "10.2.2.2"
    assert seen("10.1.1.1", ", ".join(["192.0.2.7"] + ["10.2.2.2"] * MAX_HOPS)) is None


@given(invented=st.lists(st.text(alphabet=st.characters(codec="latin-1", exclude_characters="\r\n"))))
def test_nothing_that_a_client_writes_changes_its_address(invented: list[str]):
    """The client's own headers come first; its proxy appends what it saw."""
    assert seen("192.0.2.7", *invented) == "192.0.2.7"
    assert seen("10.1.1.1", *invented, "192.0.2.7") == "192.0.2.7"
    assert seen("10.1.1.1", ", ".join([*invented, "192.0.2.7"]), "10.9.9.9") == "192.0.2.7"


@pytest.mark.parametrize(
    ("address", "ranges", "good"),
    [
        ("192.0.2.7", (), True),
        (None, (), True),
        (None, ("0.0.0.0/0", "::/0"), False),
        ("192.0.2.7", ("192.0.2.0/24",), True),
        ("192.0.2.7", ("192.0.2.7",), True),
        ("192.0.3.7", ("192.0.2.0/24",), False),
        ("192.0.3.7", ("192.0.2.0/24", "192.0.3.0/24"), True),
        ("::ffff:192.0.2.7", ("192.0.2.0/24",), True),
        ("2001:db8::7", ("192.0.2.0/24",), False),
        ("2001:db8::7", ("2001:db8::/32",), True),
        ("192.0.2.7", ("nonsense",), False),
        ("192.0.2.7", ("nonsense", "192.0.2.0/24"), True),
    ],
    ids=str,
)
def test_ranges_are_of_both_families_and_fail_closed(address, ranges, good):
    assert allowed(parse_address(address) if address else None, ranges) is good


def test_a_key_and_a_token_are_good_from_their_networks_only():
    key, secret = world.api_key(ACME.id, ip_ranges=("192.0.2.0/24",))
    who = index(issuer(ip_ranges=("192.0.2.0/24",)), keys=[key])
    inside, outside = ip_address("192.0.2.7"), ip_address("192.0.3.7")
    for credential in (secret, token()):
        assert identify(who, credential, address=inside).tenant == ACME
        for address in (outside, None):
            with pytest.raises(GatewayError) as caught:
                identify(who, credential, address=address)

            assert caught.value.code == "ip_not_allowed"
