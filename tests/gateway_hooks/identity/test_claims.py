"""What a token's claims allow, and whom they name; end users of bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.snapshot import Claims, Limits
from gateway_hooks.errors import GatewayError
from gateway_hooks.identity import Caller
from gateway_hooks.identity.end_user import end_user_for, end_user_of, hash_end_user
from gateway_hooks.identity.scopes import limits_of, user_limits
from tests.gateway_hooks import world
from tests.gateway_hooks.identity.issuers import (
    ACME,
    PORTAL_APP,
    SALT,
    identify,
    index,
    issuer,
    token,
)

ONE = index(issuer())
KEY, _ = world.api_key(ACME.id)


def code_of(text: str) -> str:
    with pytest.raises(GatewayError) as caught:
        identify(ONE, text)
    return caught.value.code


@pytest.mark.parametrize("named", ["Portal", "app-portal"])
def test_an_app_is_named_by_name_or_id(named: str):
    caller = identify(ONE, token(app=named))

    assert (caller.app, caller.key.app_id) == (PORTAL_APP, PORTAL_APP.id)


@pytest.mark.parametrize("named", ["app-foreign", "Foreign", "", "nothing", 5, ["Portal"]])
def test_no_other_tenants_app_and_no_unknown_one_can_be_named(named):
    assert code_of(token(app=named)) == "invalid_token"


def test_the_tokens_of_an_issuer_share_its_limits_whatever_their_app():
    who = index(issuer(limits=Limits(concurrency=2)))

    keys = [identify(who, token(app=named)).key for named in (None, "Portal")]

    assert keys[0].id == keys[1].id == f"jwt-issuer-of-{ACME.id}"
    assert {key.limits for key in keys} == {Limits(concurrency=2)}


def test_models_narrow_what_exists_and_never_widen_it():
    caller = identify(ONE, token(models=["support", "of-beta-only"]))

    assert caller.aliases == {"support"}
    assert (caller.may_use("support"), caller.may_use("base"), caller.may_use("of-beta-only")) == (
        True,
        False,
        False,
    )
    assert identify(ONE, token()).may_use("base")
    assert not identify(ONE, token(models=[])).may_use("base")


@pytest.mark.parametrize("models", ["support", {"support": 1}, [1], [["support"]], True])
def test_models_are_a_list_of_names(models):
    assert code_of(token(models=models)) == "invalid_token"


@pytest.mark.parametrize("budget", [0, -1, 1.5, "5", True, (1 << 53) + 1, []])
def test_a_budget_is_a_positive_integer(budget):
    assert code_of(token(budget=budget)) == "invalid_token"


def test_a_budget_is_its_subjects():
    caller = identify(ONE, token(budget=5_000_000))

    assert (caller.budget_micro, caller.subject) == (5_000_000, caller.end_user)
    assert user_limits(caller, caller.end_user) == {
        f"user.{caller.end_user}": Limits(monthly_spend_micro=5_000_000)
    }
    assert code_of(token(budget=5_000_000, sub=None)) == "invalid_token"


def test_a_budget_and_the_limits_of_end_users_are_one_scope_with_the_smaller_of_both():
    tenant = world.tenant("acme", {}, end_user_limits=Limits(concurrency=1, monthly_spend_micro=7))
    caller = Caller(tenant, KEY, end_user="u", subject="u", budget_micro=9)

    assert user_limits(caller, "u") == {"user.u": Limits(concurrency=1, monthly_spend_micro=7)}
    assert user_limits(caller, "other") == {
        "user.other": Limits(concurrency=1, monthly_spend_micro=7),
        "user.u": Limits(monthly_spend_micro=9),
    }


def test_the_limits_of_all_who_bear_some_hold_at_once():
    now = Limits(concurrency=9)
    caller = identify(ONE, token(app="Portal", budget=5))

    assert limits_of(caller, caller.end_user, tenant_limits=now) == {
        "tenant": now,
        "app.app-portal": PORTAL_APP.limits,
        f"key.jwt-issuer-of-{ACME.id}": Limits(),
        f"user.{caller.subject}": Limits(monthly_spend_micro=5),
    }
    assert limits_of(Caller(ACME, KEY), None, tenant_limits=now) == {
        "tenant": now,
        f"key.{KEY.id}": KEY.limits,
    }


def test_the_end_user_is_the_claim_that_the_issuer_names():
    who = index(issuer(claims=Claims(end_user="email")))

    caller = identify(who, token(email="ann@example.com"))

    assert caller.end_user == hash_end_user(SALT, tenant_id=ACME.id, name="ann@example.com")
    assert "ann" not in repr(caller.end_user)


def test_where_a_token_tells_the_end_user_a_body_cannot():
    with_claim = identify(ONE, token(sub=None))
    without = identify(index(issuer(claims=Claims(end_user=""))), token())

    assert end_user_for(with_claim, "somebody", secret=SALT) is None
    assert end_user_for(identify(ONE, token()), "somebody", secret=SALT) == identify(ONE, token()).end_user
    assert end_user_for(without, "somebody", secret=SALT) == hash_end_user(
        SALT, tenant_id=ACME.id, name="somebody"
    )


def test_with_a_key_the_body_tells_the_end_user():
    caller = Caller(ACME, KEY)

    assert end_user_for(caller, None, secret=SALT) is None
    assert end_user_for(caller, "u", secret=SALT) == hash_end_user(SALT, tenant_id=ACME.id, name="u")


@given(name=st.text(min_size=1), other=st.text(min_size=1))
def test_hashes_are_of_tenant_and_name_together(name: str, other: str):
    one = hash_end_user(SALT, tenant_id="t1", name=name)

    assert len(one) == 32
    assert one != hash_end_user(SALT, tenant_id="t2", name=name)
    assert one != hash_end_user(b"t" * 32, tenant_id="t1", name=name)
    assert (one == hash_end_user(SALT, tenant_id="t1", name=other)) == (name == other)


@pytest.mark.parametrize(
    ("endpoint", "document", "name"),
    [
        ("chat.completions", {"user": "u"}, "u"),
        ("chat.completions", {"user": "u", "safety_identifier": "s"}, "s"),
        ("responses", {"safety_identifier": "s"}, "s"),
        ("chat.completions", {"user": None, "safety_identifier": ""}, None),
        ("chat.completions", {"metadata": {"user_id": "m"}}, None),
        ("messages", {"metadata": {"user_id": "m"}}, "m"),
        ("messages", {"user": "u"}, None),
        ("messages", {"metadata": ["user_id"]}, None),
        ("messages", {}, None),
    ],
)
def test_each_dialect_has_its_word_for_the_end_user(endpoint, document, name):
    assert end_user_of(document, endpoint) == name


@pytest.mark.parametrize("value", [5, ["u"], {"id": "u"}, True, "u" * 513])
def test_an_end_user_is_a_short_text(value):
    for endpoint, document in (
        ("chat.completions", {"user": value}),
        ("messages", {"metadata": {"user_id": value}}),
    ):
        with pytest.raises(GatewayError) as caught:
            end_user_of(document, endpoint)

        assert caught.value.code == "invalid_parameter"
