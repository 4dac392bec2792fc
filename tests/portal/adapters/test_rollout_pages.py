"""Rolling an alias out on its page."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from portal.adapters.models import Alias, Track
from portal.adapters.rollout_pages import rollout_words
from portal.adapters.services import set_alias
from portal.core.roles import ROLES
from tests import factories


def console_for(role: str) -> Client:
    client = Client()
    client.force_login(factories.make_user(role))
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


@pytest.fixture
def alias() -> Alias:
    """Three versions of one adapter; the alias serves the first."""
    adapter = factories.make_adapter(name="support")
    versions = [factories.make_version(adapter) for _ in range(3)]
    return set_alias(tenant=adapter.tenant, name="assistant", version=versions[0])


def version(alias: Alias, number: int) -> Any:
    assert alias.version is not None
    return alias.version.adapter.versions.get(number=number)


def rollout_form(alias: Alias, **changes: Any) -> dict[str, Any]:
    values = {"track": "pinned", "version": alias.version_id, "canary_percent": "0", "shadow_percent": "0"}
    return {**values, **changes}


@pytest.mark.django_db
class TestRollout:
    def test_it_says_what_will_happen_and_does_it_when_that_was_seen(self, alias: Alias) -> None:
        console = console_for("ml-engineer")
        url = f"/adapters/alias/{alias.pk}/rollout/"
        values = rollout_form(
            alias,
            canary_version=version(alias, 2).pk,
            canary_percent="12.5",
            fallback_version=version(alias, 3).pk,
        )

        told = console.post(url, values)
        alias.refresh_from_db()
        before = alias.canary_percent
        console.post(url, {**values, "seen": told.context["question"].form["seen"].value()}, follow=True)

        alias.refresh_from_db()
        assert "12.5 % of the conversations with assistant are answered by the canary support v2" in text(
            told
        )
        assert "87.5 % by support v1" in text(told)
        assert before == 0
        assert (alias.canary_version, alias.canary_percent) == (version(alias, 2), Decimal("12.5"))
        assert alias.fallback_version == version(alias, 3)

    def test_values_that_were_changed_after_the_sentences_are_told_again(self, alias: Alias) -> None:
        console = console_for("ml-engineer")
        url = f"/adapters/alias/{alias.pk}/rollout/"
        told = console.post(url, rollout_form(alias, version=version(alias, 2).pk))
        seen = told.context["question"].form["seen"].value()

        again = console.post(url, rollout_form(alias, version=version(alias, 3).pk, seen=seen))

        alias.refresh_from_db()
        assert "assistant is answered by support v3" in text(again)
        assert alias.version == version(alias, 1)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"canary_percent": "10"}, "Choose the version that gets the canary share"),
            ({"track": "stable"}, "has no stable version yet"),
            ({"canary_percent": "101"}, "less than or equal to 100"),
        ],
    )
    def test_what_cannot_be_is_said_at_its_field(
        self, alias: Alias, changes: dict[str, str], words: str
    ) -> None:
        console = console_for("ml-engineer")
        url = f"/adapters/alias/{alias.pk}/rollout/"
        values = rollout_form(alias, **changes)
        told = console.post(url, values)
        seen = told.context["question"].form["seen"].value() or ""

        answer = console.post(url, {**values, "seen": seen})

        alias.refresh_from_db()
        assert words in text(answer)
        assert (alias.track, alias.canary_percent) == (Track.PINNED, 0)

    def test_another_tenants_version_cannot_be_chosen(self, alias: Alias) -> None:
        foreign = factories.make_version()

        answer = console_for("ml-engineer").post(
            f"/adapters/alias/{alias.pk}/rollout/", rollout_form(alias, version=foreign.pk)
        )

        assert answer.status_code == 422
        assert "Select a valid choice" in text(answer)

    def test_a_canary_is_promoted_after_a_question(self, alias: Alias) -> None:
        Alias.objects.filter(pk=alias.pk).update(canary_version=version(alias, 2), canary_percent=10)
        console = console_for("ml-engineer")
        url = f"/adapters/alias/{alias.pk}/promote/"

        question = console.get(url)
        console.post(url)

        alias.refresh_from_db()
        assert "All conversations go to support v2" in text(question)
        assert (alias.version, alias.fallback_version) == (version(alias, 2), version(alias, 1))

    @pytest.mark.parametrize("role", sorted(ROLES))
    def test_only_who_may_change_aliases_rolls_out(self, alias: Alias, role: str) -> None:
        may = "change" in ROLES[role].get("adapters.alias", ())

        answer = console_for(role).get(f"/adapters/alias/{alias.pk}/rollout/")

        assert answer.status_code == (200 if may else 403)

    def test_every_part_of_a_rollout_has_its_sentence(self, alias: Alias) -> None:
        alias.shadow_version, alias.shadow_percent = version(alias, 2), Decimal(5)
        alias.beta_version = alias.fallback_version = version(alias, 3)
        alias.track = Track.STABLE

        words = " ".join(rollout_words(alias))

        assert "support v1 (the stable version)" in words
        assert "A copy of 5 % goes to support v2" in words
        assert "does not take beta versions" in words
        assert "support v3 does, marked as degraded" in words
