import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.choices import MAX_CHOICES
from gateway_hooks.contract.identity import (
    MAX_AGE_SECONDS,
    Identity,
    Keyring,
    adapter_model_name,
    body_sha256,
    sign,
)
from inference.door import CHOICE_PATHS, READ_PATHS, WORK_PATHS, Door, DoorError, rewrite
from inference.facts import Facts, read_facts

KEYRING = Keyring({"k": b"k" * 32})
NOW = 1_800_000_000.0
DIGEST = "ab" * 32
CHAT = "/v1/chat/completions"


@pytest.fixture
def door() -> Door:
    return Door(KEYRING, worker_id="w", base_model="base", opened_at=NOW - 100)


def identity(**changes: Any) -> Identity:
    values: dict[str, Any] = {
        "request_id": "r-1",
        "worker_id": "w",
        "method": "POST",
        "path": CHAT,
        "body_sha256": body_sha256(b"{}"),
        "issued_at": NOW,
        "tenant_id": "t",
        "app_id": "a",
        "key_id": "k",
        "alias": "assistant",
        "model": "base",
    }
    return Identity(**{**values, **changes})


def body(**changes: Any) -> bytes:
    return json.dumps({"model": "base", "cache_salt": "5a", "messages": [], **changes}).encode()


def code_of(door: Door, claims: Identity, *, content: bytes = b"{}", keyring: Keyring = KEYRING) -> str:
    with pytest.raises(DoorError) as refused:
        door.identify("POST", CHAT, sign(claims, keyring), content, now=NOW)
    return refused.value.code


def test_without_a_token_every_path_answers_the_same(door: Door) -> None:
    for path in (*WORK_PATHS, *READ_PATHS, "/", "/docs", "/v1/load_lora_adapter"):
        for token in (None, ""):
            with pytest.raises(DoorError) as refused:
                door.check_target("POST", path, b"", token)

            assert (refused.value.status, refused.value.code) == (401, "identity_missing")


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("POST", "/v1/load_lora_adapter", b""),
        ("GET", CHAT, b""),
        ("POST", "/health", b""),
        ("POST", "/invocations", b""),
        ("POST", CHAT + "/", b""),
        ("POST", CHAT, b"a=1"),
        ("HEAD", "/metrics", b""),
    ],
)
def test_with_a_token_everything_off_the_list_is_forbidden(
    door: Door, method: str, path: str, query: bytes
) -> None:
    with pytest.raises(DoorError) as refused:
        door.check_target(method, path, query, "token")

    assert (refused.value.status, refused.value.code) == (403, "path_not_allowed")


def test_a_signed_request_comes_in_once(door: Door) -> None:
    token = sign(identity(), KEYRING)

    admitted = door.identify("POST", CHAT, token, b"{}", now=NOW)

    assert admitted == identity()
    with pytest.raises(DoorError) as refused:
        door.identify("POST", CHAT, token, b"{}", now=NOW + 1)
    assert refused.value.code == "identity_replayed"


def test_a_signature_for_anything_else_is_refused(door: Door) -> None:
    assert code_of(door, identity(worker_id="other")) == "identity_wrong_target"
    assert code_of(door, identity(path="/v1/completions")) == "identity_wrong_target"
    assert code_of(door, identity(), content=b"{} ") == "identity_wrong_body"
    assert code_of(door, identity(issued_at=NOW - MAX_AGE_SECONDS - 1)) == "identity_expired"
    assert code_of(door, identity(), keyring=Keyring({"k": b"x" * 32})) == "identity_invalid"
    assert code_of(door, identity(), keyring=Keyring({"z": b"k" * 32})) == "identity_unknown_key"


def test_what_was_signed_before_this_boot_is_refused() -> None:
    door = Door(KEYRING, worker_id="w", base_model="base", opened_at=NOW + 1)

    assert code_of(door, identity()) == "identity_expired"


def test_the_signed_model_must_be_the_base_or_the_signed_adapter(door: Door) -> None:
    door.check_model(identity())
    door.check_model(identity(model=adapter_model_name(DIGEST), adapter_digest=DIGEST))

    for lie in (
        identity(model="other"),
        identity(model=adapter_model_name(DIGEST)),
        identity(model="base", adapter_digest=DIGEST),
        identity(tenant_id=""),
    ):
        with pytest.raises(DoorError) as refused:
            door.check_model(lie)
        assert refused.value.status == 403


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "body_malformed"),
        (b"[]", "body_malformed"),
        (b"\xff", "body_malformed"),
        (b'{"model":"base","model":"other","cache_salt":"5a"}', "body_malformed"),
        (b"[" * 100_000, "body_malformed"),
        (body(model="other"), "model_not_signed"),
        (body(cache_salt=""), "cache_salt_missing"),
        (body(cache_salt=None), "cache_salt_missing"),
        (body(cache_salt="5" * 129), "cache_salt_missing"),
        (body(n=0), "several_sequences"),
        (body(n=MAX_CHOICES + 1), "several_sequences"),
        (body(n=True), "several_sequences"),
        (body(n="2"), "several_sequences"),
        (body(n=2, best_of=2), "several_sequences"),
        (body(best_of=3), "several_sequences"),
        (body(use_beam_search=True), "several_sequences"),
        (body(prompt=["a", "b"]), "several_sequences"),
        (body(input=[[1], [2]]), "several_sequences"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_a_code(content: bytes, code: str) -> None:
    with pytest.raises(DoorError) as refused:
        rewrite(identity(), CHAT, content)

    assert refused.value.code == code


@pytest.mark.parametrize("path", sorted(CHOICE_PATHS))
def test_the_signed_bodys_number_of_answers_reaches_the_engine(path: str) -> None:
    content, _ = rewrite(identity(), path, body(n=3, stream=True))

    facts = read_facts(json.loads(content)["vllm_xargs"], "any-id")
    assert facts is not None
    assert (facts.choices, facts.streams) == (3, True)


@pytest.mark.parametrize("path", sorted(WORK_PATHS - CHOICE_PATHS))
def test_elsewhere_there_is_one_answer(path: str) -> None:
    with pytest.raises(DoorError) as refused:
        rewrite(identity(), path, body(n=2))

    assert refused.value.code == "several_sequences"


def test_the_engine_sees_only_signed_facts() -> None:
    claims = identity(adapter_version_id="v", adapter_digest=DIGEST, model=adapter_model_name(DIGEST))
    forged = {"vllm_xargs": {"tenantry": "{}", "other": 1}, "request_id": "mine", "kv_transfer_params": {}}

    rewritten, request_id = rewrite(claims, CHAT, body(model=claims.model, **forged))
    document = json.loads(rewritten)

    assert request_id == "r-1"
    assert set(document) == {"model", "cache_salt", "messages", "vllm_xargs"}
    assert read_facts(document["vllm_xargs"], "anything") == Facts(
        request_id="r-1",
        issued_at=NOW,
        tenant_id="t",
        app_id="a",
        key_id="k",
        alias="assistant",
        adapter_version_id="v",
        adapter_digest=DIGEST,
    )


def test_pooling_carries_the_facts_in_the_request_id() -> None:
    _, request_id = rewrite(identity(path="/v1/embeddings"), "/v1/embeddings", body(input="text"))

    facts = read_facts(None, f"embd-{request_id}-0-1a2b3c4d")

    assert facts is not None
    assert (facts.request_id, facts.tenant_id) == ("r-1", "t")


@given(st.text(max_size=60))
def test_reading_facts_never_fails(text: str) -> None:
    assert read_facts({"tenantry": text}, text) is None
    assert read_facts(None, f"x-tnf.{text}.tnf-y") is None
