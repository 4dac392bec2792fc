"""A signature holds for one request at one worker for a short time, and nothing else passes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.identity import (
    MAX_AGE_SECONDS,
    MAX_SKEW_SECONDS,
    IdentityError,
    Keyring,
    adapter_model_name,
    body_sha256,
    cache_salt,
    parse_keyring,
    sign,
    verify,
)
from tests.contract.samples import IDENTITY

KEYRING = Keyring({"new": b"n" * 32, "old": b"o" * 32})
BODY = b'{"model":"x"}'
NOW = IDENTITY.issued_at
SIGNED = msgspec.structs.replace(IDENTITY, body_sha256=body_sha256(BODY))
TARGET = {"worker_id": "worker-1", "method": "POST", "path": "/v1/chat/completions", "body": BODY}


def code_of(token: str, *, keyring: Keyring = KEYRING, now: float = NOW, **changes: object) -> str:
    with pytest.raises(IdentityError) as caught:
        verify(token, keyring, now=now, **{**TARGET, **changes})  # type: ignore[arg-type]
    return caught.value.code


def test_a_signed_identity_comes_back_whole():
    assert verify(sign(SIGNED, KEYRING), KEYRING, now=NOW, **TARGET) == SIGNED  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"worker_id": "worker-2"}, {"method": "GET"}, {"path": "/v1/completions"}, {"path": "/v1/models"}],
)
def test_another_worker_method_or_path_is_refused(change: dict[str, str]):
    assert code_of(sign(SIGNED, KEYRING), **change) == "identity_wrong_target"


@given(body=st.binary(max_size=64).filter(lambda body: body != BODY))
def test_any_other_body_is_refused(body: bytes):
    assert code_of(sign(SIGNED, KEYRING), body=body) == "identity_wrong_body"


@pytest.mark.parametrize("age", [MAX_AGE_SECONDS + 0.1, -MAX_SKEW_SECONDS - 0.1])
def test_an_old_or_future_identity_is_refused(age: float):
    assert code_of(sign(SIGNED, KEYRING), now=NOW + age) == "identity_expired"


@given(position=st.integers(0, 2000), replacement=st.sampled_from("ABCxyz012-_."))
def test_a_token_changed_anywhere_is_refused(position: int, replacement: str):
    token = sign(SIGNED, KEYRING)
    position %= len(token)
    changed = token[:position] + replacement + token[position + 1 :]
    same_bits = position == len(token) - 1  # the last character of base64 carries spare bits
    if changed != token and not same_bits:
        assert code_of(changed) in {"identity_invalid", "identity_unknown_key"}


def test_the_old_key_still_verifies_until_it_is_dropped():
    token = sign(SIGNED, Keyring({"old": b"o" * 32}))

    assert verify(token, KEYRING, now=NOW, **TARGET) == SIGNED  # type: ignore[arg-type]
    assert code_of(token, keyring=Keyring({"new": b"n" * 32})) == "identity_unknown_key"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "é"])
def test_what_is_no_token_is_refused(token: str):
    assert code_of(token).startswith("identity_")


def test_a_token_without_signature_is_refused():
    import jwt

    token = jwt.encode(msgspec.to_builtins(SIGNED), "", algorithm="none", headers={"kid": "new"})

    assert code_of(token) == "identity_invalid"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "identity_keys_missing"),
        ("a:zz", "identity_keys_malformed"),
        ("a:" + "00" * 31, "identity_keys_malformed"),
        ("no-colon", "identity_keys_malformed"),
    ],
)
def test_a_keyring_that_is_not_good_enough_is_refused(text: str, code: str):
    with pytest.raises(IdentityError) as caught:
        parse_keyring(text)

    assert caught.value.code == code


def test_the_first_key_of_a_ring_signs():
    ring = parse_keyring(f"b:{'11' * 32}, a:{'22' * 32}")

    assert ring.signing_id == "b"
    assert set(ring.keys) == {"a", "b"}


@given(
    first=st.tuples(st.text(max_size=8), st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)),
    second=st.tuples(st.text(max_size=8), st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)),
)
def test_salts_are_equal_only_for_the_same_tenant_and_adapter(
    first: tuple[str, str | None], second: tuple[str, str | None]
):
    salts = [
        cache_salt(b"s" * 32, tenant_id=tenant, adapter_digest=digest) for tenant, digest in (first, second)
    ]

    assert (salts[0] == salts[1]) == (first == second)
    assert all(len(salt) == 64 for salt in salts)


def test_salts_depend_on_the_secret():
    assert cache_salt(b"a" * 32, tenant_id="t", adapter_digest=None) != cache_salt(
        b"b" * 32, tenant_id="t", adapter_digest=None
    )


def test_an_adapters_name_is_made_of_its_content():
    assert adapter_model_name("ab" * 32) == "adapter-" + "ab" * 32
