"""Key -> caller, from the snapshot alone."""

import contextlib
import hmac
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.api_keys import new_key
from gateway_hooks.contract.snapshot import App, Limits
from gateway_hooks.errors import GatewayError
from gateway_hooks.gateway.models import models_answer
from gateway_hooks.identity import identify
from tests.gateway_hooks.world import NOW, api_key, route, snapshot, tenant

ACME = tenant("acme", {"support": route()})
KEY, SECRET = api_key(ACME.id)
SNAPSHOT = snapshot(1, [ACME], [KEY])


def code_of(credential: str | None, *, config=SNAPSHOT) -> str:
    with pytest.raises(GatewayError) as caught:
        identify(config, credential, now=NOW)
    return caught.value.code


def test_a_known_key_names_its_tenant():
    caller = identify(SNAPSHOT, SECRET, now=NOW)

    assert (caller.tenant, caller.key) == (ACME, KEY)


@pytest.mark.parametrize(
    "credential", ["x", "sk-tn-", new_key()[1], SECRET[:-1] + "g", SECRET.upper(), SECRET + " ", KEY.sha256]
)
def test_every_key_that_is_not_exactly_right_is_refused_alike(credential: str):
    assert code_of(credential) == "invalid_api_key"


@pytest.mark.parametrize("credential", [None, ""])
def test_no_key_is_told_as_such(credential: str | None):
    assert code_of(credential) == "missing_api_key"


def test_a_key_ends_at_its_expiry_and_not_a_moment_later():
    key, secret = api_key(ACME.id, expires_at=NOW + timedelta(seconds=1))
    config = snapshot(1, [ACME], [key])

    assert identify(config, secret, now=NOW).key == key
    with pytest.raises(GatewayError, match="expired"):
        identify(config, secret, now=NOW + timedelta(seconds=1))


def test_a_key_of_a_tenant_that_is_gone_is_refused():
    assert code_of(SECRET, config=snapshot(1, [], [KEY])) == "invalid_api_key"


def test_a_suspended_tenant_is_told_only_to_whoever_has_its_key():
    suspended = tenant("acme", {}, status="suspended")
    config = snapshot(1, [suspended], [KEY])

    assert code_of(SECRET, config=config) == "tenant_suspended"
    assert code_of(SECRET[:-1] + "g", config=config) == "invalid_api_key"


def test_a_key_may_be_for_some_aliases_only():
    key, secret = api_key(ACME.id, aliases=("support", "gone"))

    caller = identify(snapshot(1, [ACME], [key]), secret, now=NOW)

    assert caller.aliases == {"support"}


def test_an_app_of_another_tenant_is_not_taken_along():
    foreign = App(id=KEY.app_id, tenant_id="tenant-beta", name="x", limits=Limits())
    own = msgspec.structs.replace(foreign, tenant_id=ACME.id)

    assert identify(msgspec.structs.replace(SNAPSHOT, apps={own.id: own}), SECRET, now=NOW).app == own
    assert identify(msgspec.structs.replace(SNAPSHOT, apps={own.id: foreign}), SECRET, now=NOW).app is None


@given(st.one_of(st.text(min_size=1), st.just(SECRET), st.just(new_key()[1])))
def test_a_digest_is_compared_whatever_is_sent(credential: str):
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return real(one, other)

    real = hmac.compare_digest
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(GatewayError):
        patch.setattr("gateway_hooks.identity.api_keys.hmac.compare_digest", compare)
        identify(SNAPSHOT, credential, now=NOW)

    assert len(compared) == 1
    assert {len(digest) for digest in compared[0]} == {64}


def test_models_are_listed_only_as_far_as_the_caller_may_use_them():
    shown = models_answer(WIDE, "/v1/models", published=NOW, aliases=frozenset({"b", "foreign"}))

    assert [model["id"] for model in shown["data"]] == ["b"]
    assert models_answer(WIDE, "/v1/models/b", published=NOW, aliases=frozenset({"b"}))["id"] == "b"
    assert len(models_answer(WIDE, "/v1/models", published=NOW)["data"]) == 2
    for name in ("a", "foreign", "nothing"):
        with pytest.raises(GatewayError, match="does not exist or you may not use it"):
            models_answer(WIDE, f"/v1/models/{name}", published=NOW, aliases=frozenset({"b"}))


WIDE = tenant("wide", {"a": route(), "b": route()})
