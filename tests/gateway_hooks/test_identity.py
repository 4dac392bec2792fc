"""Key -> caller, from the snapshot alone."""

from datetime import timedelta

import pytest

from gateway_hooks.contract.api_keys import new_key
from gateway_hooks.errors import GatewayError
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
