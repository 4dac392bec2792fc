"""Which version serves a conversation: by its share, sticky, and the same everywhere."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.snapshot import Share, Target
from gateway_hooks.errors import GatewayError
from gateway_hooks.routing.versions import Chosen, bucket, choose, conversation_key, dearest, resolve
from tests.gateway_hooks.world import BASE_MODEL, POOL, PRICE, route, tenant

OLD, NEW, THIRD = "a" * 64, "b" * 64, "c" * 64
SHARES = st.integers(0, 10_000)
NAMES = st.text(min_size=1, max_size=20)


def target(digest: str) -> Target:
    return Target(pool_id=POOL.id, base_model=BASE_MODEL, adapter_digest=digest, price=PRICE)


def with_canary(basis_points: int):
    return route(OLD, track="stable", canary=Share(target=target(NEW), basis_points=basis_points))


def served(basis_points: int, conversation: str, *, tenant_id: str = "t", alias: str = "support") -> Chosen:
    return choose(with_canary(basis_points), conversation=conversation, tenant_id=tenant_id, alias=alias)


def chat(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}


def test_only_the_tenants_own_aliases_lead_anywhere():
    acme = tenant("acme", {"support": route()})

    assert resolve(acme, "support") == route()
    with pytest.raises(GatewayError) as caught:
        resolve(acme, "Support")
    assert caught.value.code == "model_not_found"


def test_without_shares_the_route_itself_serves():
    for track in ("pinned", "stable"):
        one = route(OLD, track=track)

        assert choose(one, conversation="c", tenant_id="t", alias="a") == Chosen(one, track)


def test_a_beta_is_for_all_conversations_of_its_tenant_whatever_the_canary():
    one = msgspec.structs.replace(with_canary(10_000), beta=target(THIRD))

    assert choose(one, conversation="c", tenant_id="t", alias="a") == Chosen(target(THIRD), "beta")


@pytest.mark.parametrize("basis_points", [0, 100, 2_500, 5_000, 10_000])
def test_a_share_of_the_conversations_goes_to_the_canary(basis_points: int):
    count = 20_000

    found = sum(served(basis_points, f"conversation {n}").served == "canary" for n in range(count))

    # Five standard deviations of a binomial.
    expected = count * basis_points / 10_000
    tolerance = 5 * (expected * (1 - basis_points / 10_000)) ** 0.5
    assert abs(found - expected) <= tolerance


@given(NAMES, NAMES, NAMES, SHARES, SHARES)
def test_a_conversation_stays_with_its_version_while_the_share_grows(
    tenant_id: str, alias: str, conversation: str, one: int, other: int
):
    small, large = sorted((one, other))

    before = served(small, conversation, tenant_id=tenant_id, alias=alias)
    after = served(large, conversation, tenant_id=tenant_id, alias=alias)

    assert before == served(small, conversation, tenant_id=tenant_id, alias=alias)
    assert before.served != "canary" or after.served == "canary"


@given(NAMES)
def test_nothing_and_everything_are_exact(conversation: str):
    assert served(0, conversation).served == "stable"
    assert served(10_000, conversation).target == target(NEW)


def test_tenants_and_aliases_draw_apart():
    by_tenant = [{served(5_000, f"{n}", tenant_id=name).served for name in "abcdefgh"} for n in range(20)]
    by_alias = [{served(5_000, f"{n}", alias=name).served for name in "abcdefgh"} for n in range(20)]

    assert any(len(drawn) == 2 for drawn in by_tenant)
    assert any(len(drawn) == 2 for drawn in by_alias)


def test_a_shadow_is_drawn_apart_from_the_canary():
    share = Share(target=target(THIRD), basis_points=5_000)
    one = msgspec.structs.replace(with_canary(5_000), shadow=share)

    drawn = [choose(one, conversation=f"{n}", tenant_id="t", alias="a") for n in range(200)]

    assert {(c.served, c.shadow is None) for c in drawn} == {
        (name, none) for name in ("stable", "canary") for none in (True, False)
    }


@given(NAMES, NAMES)
def test_a_bucket_is_among_ten_thousand(one: str, other: str):
    assert 0 <= bucket(one, other) < 10_000


def test_later_turns_belong_to_the_conversation_of_the_first():
    first = chat(("system", "be brief"), ("user", "hello"))
    later = chat(("system", "be brief"), ("user", "hello"), ("assistant", "hi"), ("user", "and now?"))

    assert conversation_key(first) == conversation_key(later)
    assert conversation_key(first) != conversation_key(chat(("system", "be long"), ("user", "hello")))
    assert conversation_key(first) != conversation_key(chat(("system", "be brief"), ("user", "goodbye")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"prompt": "hello"}, {"prompt": "goodbye"}),
        ({"input": "hello"}, {"input": "goodbye"}),
        ({"input": "hello", "instructions": "a"}, {"input": "hello", "instructions": "b"}),
        (chat(("user", "hello"), system="a"), chat(("user", "hello"), system="b")),
        ({"input": [1, 2, 3]}, {"input": [1, 2, 4]}),
        ({"input": ["hello"]}, {"input": ["goodbye"]}),
    ],
)
def test_what_begins_otherwise_is_another_conversation(one: dict[str, Any], other: dict[str, Any]):
    assert conversation_key(one) == conversation_key(dict(one))
    assert conversation_key(one) != conversation_key(other)


def test_a_named_end_user_is_one_conversation_whatever_is_said():
    one, other = {"prompt": "hello"}, {"prompt": "goodbye"}

    assert conversation_key(one, end_user="ann") == conversation_key(other, end_user="ann")
    assert conversation_key(one, end_user="ann") != conversation_key(one, end_user="bob")


def test_a_conversations_key_tells_nothing_of_it():
    key = conversation_key({"prompt": "my secret"})

    assert len(key) == 64
    assert "secret" not in key


def test_what_is_reserved_covers_whichever_target_serves():
    cheap = msgspec.structs.replace(PRICE, rate_id="other", input_micro=1, output_micro=9_000_000)

    price = dearest([PRICE, cheap])

    assert (price.rate_id, price.input_micro, price.output_micro) == ("rate-1", 1_000_000, 9_000_000)
