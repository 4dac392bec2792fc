"""Tokens: whose they are, how long, and all the ways in which they are not."""

import hashlib
import hmac
import json
import time

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_hooks.errors import GatewayError
from gateway_hooks.identity import IdentityDoor
from gateway_hooks.identity.issuer_keys import SUPPORTED
from tests.gateway_hooks import world
from tests.gateway_hooks.identity.issuers import (
    ACME,
    BETA,
    FAMILIES,
    NOW,
    PROVIDER,
    SALT,
    SEALING,
    SECRET,
    claims,
    coded,
    forged,
    identify,
    index,
    issuer,
    jwk,
    private_key,
    shared,
    snapshot,
    token,
)

ONE = index(issuer())
BOTH = index(issuer(), issuer(BETA.id))


def code_of(who, text, **how) -> str:
    with pytest.raises(GatewayError) as caught:
        identify(who, text, **how)
    return caught.value.code


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_every_public_key_algorithm_is_served(algorithm: str):
    who = index(issuer(algorithms=(algorithm,), jwks=(jwk(algorithm),)))

    caller = identify(who, token(algorithm))

    assert (caller.tenant, caller.key.id, caller.key.app_id) == (
        ACME,
        f"jwt-{who.snapshot.issuers.popitem()[0]}",
        f"app-of-{ACME.id}",
    )


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_shared_secrets_are_served(algorithm: str):
    assert identify(index(shared()), token(algorithm, key=SECRET)).tenant == ACME


def test_one_provider_serves_two_tenants_apart():
    assert identify(BOTH, token()).tenant == ACME
    assert identify(BOTH, token(tenant=BETA)).tenant == BETA


def test_a_token_for_two_tenants_is_for_neither():
    assert code_of(BOTH, token(aud=[ACME.id, BETA.id], account=None)) == "invalid_token"


def test_an_audience_among_foreign_ones_is_enough():
    assert identify(ONE, token(aud=["somewhere else", ACME.id])).tenant == ACME


def test_two_issuers_that_claim_the_same_tokens_serve_nobody():
    twins = index(issuer(), issuer(BETA.id, audience=ACME.id))

    assert code_of(twins, token()) == "invalid_token"


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example.com"},
        {"iss": PROVIDER + "/"},
        {"iss": None},
        {"iss": 5},
        {"aud": "another"},
        {"aud": None},
        {"aud": []},
        {"aud": {"x": 1}},
        {"aud": [ACME.id] * 17},
        {"account": None},
        {"account": BETA.slug},
        {"account": [ACME.slug]},
        {"account": {}},
        {"exp": None},
        {"exp": str(NOW + 60)},
        {"exp": True},
        {"exp": 1e300},
        {"exp": -1},
        {"iat": None},
        {"iat": "now"},
        {"nbf": []},
        {"nbf": 1 << 80},
        {"sub": 7},
        {"sub": "x" * 513},
    ],
    ids=str,
)
def test_a_signed_token_with_a_wrong_claim_is_refused(change):
    # Signed by hand, since PyJWT refuses to write some of these.
    text = signed(json.dumps(claims(**change)).encode())

    assert code_of(ONE, text) == "invalid_token"


def signed(payload: bytes, *, header: bytes = b'{"alg":"RS256"}') -> str:
    text = f"{coded(header)}.{coded(payload)}"
    signature = jwt.get_algorithm_by_name("RS256").sign(text.encode(), private_key("rsa"))
    return f"{text}.{coded(signature)}"


def test_the_account_may_be_named_by_id():
    assert identify(ONE, token(account=ACME.id)).tenant == ACME


# Time


LEEWAY = 30


@pytest.mark.parametrize(
    ("change", "at", "code"),
    [
        ({"exp": NOW + 60}, 60 + LEEWAY - 0.001, None),
        ({"exp": NOW + 60}, 60 + LEEWAY, "token_expired"),
        ({"nbf": NOW + 60}, 60 - LEEWAY, None),
        ({"nbf": NOW + 60}, 60 - LEEWAY - 0.001, "token_not_yet_valid"),
        ({"iat": NOW + 60, "exp": NOW + 99}, 60 - LEEWAY, None),
        ({"iat": NOW + 60, "exp": NOW + 99}, 60 - LEEWAY - 0.001, "token_not_yet_valid"),
        ({"exp": NOW + 9000}, 3600 + LEEWAY - 0.001, None),
        ({"exp": NOW + 9000}, 3600 + LEEWAY, "token_expired"),
        ({"exp": NOW + 60.5}, 60.5 + LEEWAY - 0.001, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("remembered", [False, True])
def test_times_hold_to_the_moment_with_the_leeway(change, at, code, remembered):
    who = index(issuer(leeway_seconds=LEEWAY))
    text = token(**change)
    if remembered:
        identify(who, text, at=35)

    if code is None:
        assert identify(who, text, at=at).tenant == ACME
    else:
        assert code_of(who, text, at=at) == code


def test_without_a_greatest_age_a_token_needs_no_iat():
    who = index(issuer(max_age_seconds=0))

    assert identify(who, token(iat=None, exp=NOW + 10**6), at=9 * 10**5).tenant == ACME


# Keys


def test_the_kid_chooses_the_key():
    who = index(issuer(jwks=(jwk("RS256", kid="old"), jwk("RS256", "second", kid="new"))))
    second = private_key("rsa", "second")

    assert identify(who, token(key=second, headers={"kid": "new"})).tenant == ACME
    assert identify(who, token(headers={"kid": "old"})).tenant == ACME
    assert code_of(who, token(key=second, headers={"kid": "old"})) == "invalid_token"


def test_without_a_kid_every_key_of_the_issuer_is_tried():
    who = index(issuer(jwks=(jwk("RS256", kid="old"), jwk("RS256", "second", kid="new"))))

    assert identify(who, token(key=private_key("rsa", "second"))).tenant == ACME
    assert code_of(who, token(key=private_key("rsa", "third"))) == "invalid_token"


def test_during_a_rotation_both_secrets_are_good():
    other = "another secret, also of more than sixty-four bytes, for the other times"
    who = index(shared(ACME.id, SECRET, other))

    assert identify(who, token("HS256", key=SECRET)).tenant == ACME
    assert identify(who, token("HS256", key=other, jti="2")).tenant == ACME


@pytest.mark.parametrize(
    "kid", ["../../../dev/null", "' OR 1=1 --", "k1\x00", "", "https://evil.example.com/k1"]
)
def test_a_kid_is_only_ever_compared(kid: str):
    assert code_of(ONE, token(headers={"kid": kid})) == "invalid_token"


@pytest.mark.parametrize("kid", [7, ["k1"], {"k": 1}])
def test_a_kid_that_is_no_text_is_refused(kid):
    header = json.dumps({"alg": "RS256", "kid": kid}).encode()

    assert code_of(ONE, signed(json.dumps(claims()).encode(), header=header)) == "invalid_token"


def test_a_key_in_the_header_is_not_read():
    evil = private_key("rsa", "evil")
    headers = {
        "jwk": jwk("RS256", "evil"),
        "jku": "https://evil.example.com/keys",
        "x5u": "https://evil.example.com/cert",
        "x5c": ["MIIB"],
    }

    assert code_of(ONE, token(key=evil, headers=headers)) == "invalid_token"
    assert identify(ONE, token(headers=headers)).tenant == ACME


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RS256", "crit": ["exp"], "exp": 1},
        {"alg": "RS256", "crit": ["b64"], "b64": False},
        {"alg": "RS256", "b64": False},
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "ES256K"},
        {"alg": ""},
        {"alg": None},
        {},
    ],
    ids=str,
)
def test_a_header_that_asks_for_something_else_is_refused(header):
    assert (
        code_of(ONE, signed(json.dumps(claims()).encode(), header=json.dumps(header).encode()))
        == "invalid_token"
    )


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_never_a_shared_secret(algorithm: str):
    mixed = index(issuer(algorithms=("RS256", algorithm)))
    pem = (
        private_key("rsa")
        .public_key()
        .public_bytes(encoding=Encoding.PEM, format=PublicFormat.SubjectPublicKeyInfo)
    )
    text = unsigned(algorithm)
    digest = getattr(hashlib, algorithm.replace("HS", "sha"))
    for key in (pem, pem.strip(), json.dumps(jwk("RS256")).encode(), jwk("RS256")["n"].encode(), b"", b"k1"):
        signature = hmac.new(key, text.encode(), digest).digest()

        assert code_of(mixed, f"{text}.{coded(signature)}") == "invalid_token"


def unsigned(algorithm: str) -> str:
    return f"{coded(json.dumps({'alg': algorithm}).encode())}.{coded(json.dumps(claims()).encode())}"


def test_an_algorithm_that_the_issuer_does_not_list_is_refused():
    assert code_of(ONE, token("PS256")) == "invalid_token"
    assert code_of(index(shared(algorithms=("HS512",))), token("HS256", key=SECRET)) == "invalid_token"


def test_a_key_serves_only_what_it_says_it_is_for():
    for members in ({"alg": "RS512"}, {"use": "enc"}, {"key_ops": ["encrypt"]}):
        who = index(issuer(algorithms=("RS256", "RS512"), jwks=(jwk("RS256", **members),)))

        assert code_of(who, token()) == "invalid_token"


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": 5, "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": ["P-256"]},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "oct", "k": coded(SECRET.encode())},
        {"kty": ["RSA"]},
        {"kty": "OKP", "crv": ["Ed25519"]},
        {"kty": "RSA", "key_ops": 5},
        {"kty": "RSA", "use": ["sig"]},
    ],
    ids=str,
)
def test_an_unusable_key_beside_a_good_one_does_no_harm(bad, caplog):
    who = index(issuer(algorithms=("RS256", "ES256", "EdDSA", "HS256"), jwks=(bad, jwk("RS256"))))

    assert identify(who, token()).tenant == ACME
    assert code_of(who, token("HS256", key=SECRET)) == "invalid_token"
    assert "AQAB" not in caplog.text


def test_a_secret_that_does_not_open_is_reported_and_serves_nobody(caplog):
    stolen = index(msgspec.structs.replace(shared(BETA.id), tenant_id=ACME.id, audience=ACME.id))

    assert code_of(stolen, token("HS256", key=SECRET)) == "invalid_token"
    assert "sealed_wrong" in caplog.text
    assert SECRET not in caplog.text


def test_a_secret_that_is_too_short_for_its_algorithm_serves_nobody():
    short = "only twenty-five bytes ..."
    text = unsigned("HS256")
    signature = hmac.new(short.encode(), text.encode(), hashlib.sha256).digest()

    assert code_of(index(shared(ACME.id, short)), f"{text}.{coded(signature)}") == "invalid_token"


# What is refused looks alike


@pytest.mark.parametrize("algorithm", sorted(SUPPORTED))
def test_an_unknown_issuer_a_wrong_key_and_a_wrong_kid_look_alike(algorithm: str):
    family = FAMILIES.get(algorithm)
    wrong = private_key(family, "wrong") if family else "x" * 64
    who = index(issuer(algorithms=tuple(SUPPORTED), jwks=(jwk(algorithm, kid="k1"),)) if family else shared())
    texts = set()
    for change in ({}, {"iss": "https://nobody.example.com"}, {"aud": "x"}, {"headers": {"kid": "zz"}}):
        with pytest.raises(GatewayError) as caught:
            identify(who, token(algorithm, key=wrong, **change))
        texts.add((caught.value.code, caught.value.message, caught.value.status))

    assert texts == {("invalid_token", "The token is not valid.", 401)}


# Life


def test_a_verified_token_is_remembered_and_gives_the_very_same_caller():
    who = index(issuer())
    text = token()

    assert identify(who, text) is identify(who, text)


def test_what_the_next_snapshot_revokes_is_refused_at_once():
    door = IdentityDoor(SEALING, salt_secret=SALT)
    text, before = token(), snapshot(issuer())
    rotated = snapshot(issuer(jwks=(jwk("RS256", "second", kid="k2"),)))
    suspended = snapshot(issuer(), tenants=(world.tenant("acme", {}, status="suspended"), BETA))

    assert identify(door.of(before), text).tenant == ACME
    assert door.of(before) is door.of(before)
    assert code_of(door.of(snapshot()), text) == "invalid_token"
    assert code_of(door.of(rotated), text) == "invalid_token"
    assert code_of(door.of(suspended), text) == "tenant_suspended"
    assert code_of(door.of(snapshot(issuer(), tenants=(BETA,))), text) == "invalid_token"
    assert identify(door.of(before), text).tenant == ACME


def test_only_so_many_tokens_are_remembered(monkeypatch):
    monkeypatch.setattr("gateway_hooks.identity.index.REMEMBERED_TOKENS", 3)
    who = index(shared())
    for number in range(10):
        identify(who, token("HS256", key=SECRET, jti=str(number)))

    assert len(who._remembered) == 3


# Whatever comes


EDGES = st.sampled_from(["", ".", "..", "a.b.c", "....", "\x00.\x00.\x00", "é.é.é", "=.=.=", "e30.e30.e30"])


@given(st.one_of(EDGES, st.text(), st.from_regex(r"\A[\w-]*\.[\w-]*\.[\w-]*\Z")))
def test_any_text_is_refused_as_a_gateway_error(text: str):
    with pytest.raises(GatewayError):
        identify(BOTH, text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "crit", "b64", "jwk", "typ", "zip"]),
    VALUES | st.sampled_from([*sorted(SUPPORTED), "none", ["b64"]]),
)
PAYLOADS = st.dictionaries(
    st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "sub", "account"]),
    VALUES | st.sampled_from([PROVIDER, ACME.id, NOW, NOW + 60]),
)


@given(header=HEADERS | VALUES, payload=PAYLOADS | VALUES, signature=st.binary(max_size=300))
def test_any_three_parts_are_refused_as_invalid(header, payload, signature):
    assert code_of(BOTH, forged(header, payload, signature or b"x")) in {"invalid_token", "invalid_api_key"}


@settings(max_examples=200)
@given(change=PAYLOADS)
def test_whatever_a_good_key_signs_ends_in_a_caller_or_a_gateway_error(change):
    text = signed(json.dumps({**claims(), **change}).encode())

    try:
        caller = identify(BOTH, text)
    except GatewayError:
        return
    assert caller.tenant == ACME


@given(position=st.integers(min_value=0), flip=st.sampled_from("AZaz09-_."))
def test_a_changed_token_is_refused(position: int, flip: str):
    text = GOOD
    position %= len(text)
    changed = text[:position] + flip + text[position + 1 :]

    if changed != text:
        with pytest.raises(GatewayError):
            identify(ONE, changed)


GOOD = token()


def test_deep_and_long_tokens_are_refused_quickly():
    for payload in (b"[" * 6000, b'{"iss":' * 1500, b'{"exp":' + b"9" * 10_000 + b"}", b"x" * 100_000):
        assert code_of(ONE, forged({"alg": "RS256"}, payload)) == "invalid_token"


def test_ten_thousand_issuers_are_indexed_in_less_than_a_second():
    tenants = tuple(world.tenant(f"t{number}", {}) for number in range(10_000))
    many = snapshot(*(issuer(tenant.id) for tenant in tenants), tenants=tenants)
    door = IdentityDoor(SEALING, salt_secret=SALT)

    started = time.perf_counter()
    who = door.of(many)
    took = time.perf_counter() - started

    assert took < 1
    assert identify(who, token(tenant=tenants[-1])).tenant == tenants[-1]
