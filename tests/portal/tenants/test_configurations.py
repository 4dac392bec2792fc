"""Configurations: one draft, one in force, and history that nobody rewrites."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from portal.snapshots.services import build_snapshot
from portal.tenants.configurations import (
    changes,
    discard_draft,
    draft_of,
    publish,
    published,
    roll_back,
    save_draft,
)
from portal.tenants.errors import TenantError
from portal.tenants.models import Tenant, TenantConfiguration
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
PII = {"entities": {"EMAIL_ADDRESS": "mask"}}


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant(tier=factories.make_tier(pii_policy=PII))


def draft(tenant: Tenant, **content: Any) -> TenantConfiguration:
    return save_draft(tenant=tenant, content=content, now=NOW, user=None)


def in_force(tenant: Tenant, **content: Any) -> TenantConfiguration:
    return publish(draft=draft(tenant, **content), now=NOW, user=None)


def test_a_draft_reaches_nobody_until_it_is_published(tenant: Tenant) -> None:
    made = draft(tenant, stop=["END"], max_output_tokens=99)

    before = build_snapshot(NOW).tenants[str(tenant.pk)]
    publish(draft=made, now=NOW, user=None)
    after = build_snapshot(NOW).tenants[str(tenant.pk)]

    assert before.configuration is None
    assert after.configuration is not None
    assert (after.configuration.version, after.configuration.stop) == (1, ("END",))
    assert after.configuration.max_output_tokens == 99


def test_its_policy_stands_in_place_of_the_tiers_and_none_of_it_leaves_the_tiers(tenant: Tenant) -> None:
    def policy() -> Any:
        return build_snapshot(NOW).tenants[str(tenant.pk)].pii

    from_tier = policy()
    in_force(tenant, stop=["END"])
    still_from_tier = policy()
    in_force(tenant, pii={"entities": {"CREDIT_CARD": "block"}})
    own = policy()
    in_force(tenant, pii=None)

    assert from_tier == still_from_tier
    assert from_tier.entities == {"EMAIL_ADDRESS": "mask"}
    assert own.entities == {"CREDIT_CARD": "block"}
    assert policy() is None


def test_saving_again_replaces_the_draft_and_publishing_it_supersedes_what_was_in_force(
    tenant: Tenant,
) -> None:
    first = in_force(tenant, stop=["A"])
    draft(tenant, stop=["B"])
    second = draft(tenant, stop=["C"])

    publish(draft=second, now=NOW, user=None)

    first.refresh_from_db()
    assert TenantConfiguration.objects.count() == 2
    assert first.state == "superseded"
    assert published(tenant) == second
    assert draft_of(tenant) is None


def test_a_roll_back_publishes_a_copy_with_a_number_of_its_own(tenant: Tenant) -> None:
    old = in_force(tenant, stop=["A"])
    in_force(tenant, stop=["B"])
    waiting = draft(tenant, stop=["C"])

    copy = roll_back(to=TenantConfiguration.objects.get(pk=old.pk), now=NOW, user=None)
    later = publish(draft=waiting, now=NOW, user=None)

    assert (copy.content, copy.restores_id) == ({"stop": ["A"]}, old.pk)
    assert (copy.number, later.number) == (4, 5)


def test_only_what_was_in_force_before_can_be_rolled_back_to(tenant: Tenant) -> None:
    current, waiting = in_force(tenant, stop=["A"]), draft(tenant, stop=["B"])

    for one in (current, waiting):
        with pytest.raises(TenantError) as refused:
            roll_back(to=one, now=NOW, user=None)
        assert refused.value.code == "configuration_not_superseded"


def test_what_was_published_never_changes_not_even_by_raw_sql(tenant: Tenant) -> None:
    one = in_force(tenant, stop=["A"])

    for attempt in (lambda: publish(draft=one, now=NOW, user=None), lambda: discard_draft(draft=one)):
        with pytest.raises(TenantError) as refused:
            attempt()
        assert refused.value.code == "configuration_published"
    for change in ({"content": {}}, {"number": 7}, {"state": "draft"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            TenantConfiguration.objects.filter(pk=one.pk).update(**change)
    with pytest.raises(IntegrityError), transaction.atomic():
        TenantConfiguration.objects.filter(pk=one.pk).delete()


def test_a_draft_can_be_thrown_away(tenant: Tenant) -> None:
    discard_draft(draft=draft(tenant, stop=["A"]))

    assert not TenantConfiguration.objects.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"stops": ["A"]},
        {"version": 3},
        {"stop": "A"},
        {"max_output_tokens": 0},
        {"bounds": {"temperature": {"low": 2, "high": 1}}},
        {"endpoints": ["images"]},
        {"system_prompt": "a\x00b"},
        {"pii": {"entities": {"SHOE_SIZE": "mask"}}},
        {"pii": {"entities": {}, "patterns": [{"name": "X", "pattern": "(", "action": "mask"}]}},
        {"pii": {"entities": {}, "unknown": 1}},
    ],
)
def test_what_gateways_could_not_apply_is_refused_when_it_is_saved(tenant: Tenant, content: Any) -> None:
    with pytest.raises(ValidationError):
        draft(tenant, **content)


def test_the_difference_names_each_field_that_changed_and_the_policys_too(tenant: Tenant) -> None:
    old = in_force(tenant, system_prompt="Be kind.", stop=["A"])
    new = draft(tenant, system_prompt="Be kind.\nBe brief.", pii={"entities": {"CREDIT_CARD": "block"}})

    found = {change.field: change for change in changes(old, new, tier_policy=PII)}

    assert set(found) == {"system_prompt", "stop", "pii.entities.CREDIT_CARD", "pii.entities.EMAIL_ADDRESS"}
    assert "+Be brief." in found["system_prompt"].lines
    assert found["pii.entities.CREDIT_CARD"].after == "block"
