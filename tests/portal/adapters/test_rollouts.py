"""Rollouts: only what the alias' pool can serve to its tenant, and a stable track that moves as one."""

from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from gateway_hooks.contract.snapshot import Route
from portal.adapters.errors import AdapterError
from portal.adapters.models import Adapter, Alias
from portal.adapters.rollouts import promote_canary, set_rollout, set_stable_version
from portal.adapters.selectors import broken_by, misfits
from portal.adapters.services import set_alias
from portal.snapshots.services import build_snapshot
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def adapter() -> Adapter:
    return factories.make_adapter()


def route(alias: Alias) -> Route:
    return build_snapshot(NOW).tenants[str(alias.tenant_id)].aliases[alias.name]


def test_shares_reach_the_gateways_in_basis_points(adapter: Adapter) -> None:
    own, canary, shadow, fallback = (factories.make_version(adapter) for _ in range(4))
    alias = set_alias(tenant=adapter.tenant, name="chat", version=own)

    set_rollout(
        alias=alias,
        canary_version=canary,
        canary_percent=Decimal("12.34"),
        shadow_version=shadow,
        shadow_percent=Decimal(100),
        fallback_version=fallback,
    )

    found = route(alias)
    assert found.canary is not None
    assert found.shadow is not None
    assert found.fallback is not None
    assert (found.canary.basis_points, found.shadow.basis_points) == (1234, 10_000)
    assert found.canary.target.adapter_digest == canary.digest
    assert found.fallback.adapter_version_id == str(fallback.pk)
    assert (found.adapter_digest, found.track, found.beta) == (own.digest, "pinned", None)


def test_beta_versions_are_for_tenants_that_take_them(adapter: Adapter) -> None:
    alias = set_alias(tenant=adapter.tenant, name="chat", version=None)
    set_rollout(alias=alias, beta_version=factories.make_version(adapter))

    without = route(alias).beta
    type(adapter.tenant).objects.update(beta=True)

    assert without is None
    assert route(alias).beta is not None


def test_a_share_of_nothing_is_no_share(adapter: Adapter) -> None:
    alias = set_alias(tenant=adapter.tenant, name="chat", version=None)

    set_rollout(alias=alias, canary_version=factories.make_version(adapter), canary_percent=Decimal(0))

    assert route(alias).canary is None


@pytest.mark.parametrize("field", ["canary_version", "shadow_version", "beta_version", "fallback_version"])
def test_versions_of_others_and_those_that_do_not_fit_the_pool_are_refused(
    adapter: Adapter, field: str
) -> None:
    alias = set_alias(tenant=adapter.tenant, name="chat", version=None)
    wrong = {
        "alias_foreign_version": factories.make_version(),
        "adapter_wrong_base": factories.make_version(adapter, base_model="another"),
        "adapter_rank_too_big": factories.make_version(adapter, rank=64),
    }

    for code, version in wrong.items():
        with pytest.raises(AdapterError) as refused:
            set_rollout(alias=alias, **{field: version})
        assert refused.value.code == code


def test_shares_need_a_version_and_end_at_all_of_it(adapter: Adapter) -> None:
    alias = set_alias(tenant=adapter.tenant, name="chat", version=None)

    with pytest.raises(AdapterError) as refused:
        set_rollout(alias=alias, canary_percent=Decimal(5))
    with pytest.raises(ValidationError):
        set_rollout(alias=alias, canary_version=factories.make_version(adapter), canary_percent=Decimal(101))
    with pytest.raises(IntegrityError), transaction.atomic():
        Alias.objects.update(shadow_percent=5)

    assert refused.value.code == "canary_version_missing"


def test_aliases_on_the_stable_track_move_with_their_adapter(adapter: Adapter) -> None:
    old, new = factories.make_version(adapter), factories.make_version(adapter)
    set_stable_version(adapter=adapter, version=old)
    follows = set_alias(tenant=adapter.tenant, name="chat", version=new, track="stable")
    pinned = set_alias(tenant=adapter.tenant, name="pinned", version=old)
    before = route(follows).adapter_digest

    moved = set_stable_version(adapter=adapter, version=new)

    assert moved == [follows]
    assert (before, route(follows).adapter_digest) == (old.digest, new.digest)
    assert (route(follows).track, route(pinned).adapter_digest) == ("stable", old.digest)


def test_the_stable_track_needs_a_stable_version(adapter: Adapter) -> None:
    version = factories.make_version(adapter)
    codes: dict[str, Any] = {"adapter_without_stable": version, "alias_follows_nothing": None}

    for code, chosen in codes.items():
        with pytest.raises(AdapterError) as refused:
            set_alias(tenant=adapter.tenant, name="chat", version=chosen, track="stable")
        assert refused.value.code == code
    set_stable_version(adapter=adapter, version=version)
    set_alias(tenant=adapter.tenant, name="chat", version=version, track="stable")
    with pytest.raises(AdapterError) as refused:
        set_stable_version(adapter=adapter, version=None)
    assert refused.value.code == "stable_in_use"


def test_a_stable_version_that_a_followers_pool_cannot_serve_is_refused(adapter: Adapter) -> None:
    version = factories.make_version(adapter)
    set_stable_version(adapter=adapter, version=version)
    alias = set_alias(tenant=adapter.tenant, name="chat", version=version, track="stable")

    with pytest.raises(AdapterError):
        set_stable_version(adapter=adapter, version=factories.make_version(adapter, rank=64))
    with pytest.raises(AdapterError) as refused:
        set_stable_version(adapter=adapter, version=factories.make_version())

    assert refused.value.code == "stable_foreign_version"
    assert route(alias).adapter_digest == version.digest


def test_a_promoted_canary_leaves_the_old_version_as_fallback(adapter: Adapter) -> None:
    old, new = factories.make_version(adapter), factories.make_version(adapter)
    alias = set_alias(tenant=adapter.tenant, name="chat", version=old)
    set_rollout(alias=alias, canary_version=new, canary_percent=Decimal(50))

    promote_canary(alias=alias)

    found = route(alias)
    assert (found.adapter_digest, found.canary) == (new.digest, None)
    assert found.fallback is not None
    assert found.fallback.adapter_digest == old.digest
    with pytest.raises(AdapterError) as refused:
        promote_canary(alias=alias)
    assert refused.value.code == "canary_missing"


def test_a_pool_that_cannot_serve_a_canary_is_found_like_one_that_cannot_serve_the_version(
    adapter: Adapter,
) -> None:
    alias = set_alias(tenant=adapter.tenant, name="chat", version=None)
    set_rollout(alias=alias, canary_version=factories.make_version(adapter), canary_percent=Decimal(1))
    small = factories.make_pool(max_lora_rank=4)

    assert misfits(tenant=adapter.tenant, pool=small) == [alias]
    assert list(broken_by(pool=adapter.tenant.pool, base_model="other", max_lora_rank=16)) == [alias]
    assert misfits(tenant=adapter.tenant, pool=factories.make_pool()) == []
