"""The tenant's tab "Configuration", and the page that tries a PII policy."""

import logging
import re
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from portal.core import clock
from portal.core.roles import ROLES
from portal.tenants import configurations
from portal.tenants.models import Tenant, TenantConfiguration
from tests import factories
from tests.portal.tenants.test_services import everything_stored

READERS = sorted(role for role in ROLES if "tenants.tenantconfiguration" in ROLES[role])
SECRET = "ada.lovelace@canary-mail.example"
POLICY = {"entities": {"EMAIL_ADDRESS": "mask", "US_SSN": "block"}}


def console_for(role: str) -> Client:
    client = Client()
    client.force_login(factories.make_user(role))
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


def publish(tenant: Tenant, **content: Any) -> TenantConfiguration:
    draft = configurations.save_draft(tenant=tenant, content=content, now=clock.now(), user=None)
    return configurations.publish(draft=draft, now=clock.now(), user=None)


def url(tenant: Tenant, rest: str = "") -> str:
    return f"/tenants/tenant/{tenant.pk}/configuration/{rest}"


def seen(page: Any) -> str:
    found = re.search(r'name="seen" value="([0-9a-f]{64})"', text(page))
    assert found, "the page says nothing of what it shows"
    return found[1]


def draft_form(**changes: Any) -> dict[str, Any]:
    return {"tools_mode": "any", "pii_mode": "tier", **changes}


@pytest.mark.django_db
class TestVersions:
    def test_an_empty_page_teaches_the_next_step(self) -> None:
        page = text(console_for("customer-success").get(url(factories.make_tenant())))

        assert "Make a draft, publish it" in page
        assert "New draft" in page

    @pytest.mark.parametrize("role", sorted(ROLES))
    def test_who_may_see_it_sees_what_differs(self, role: str) -> None:
        tenant = factories.make_tenant()
        publish(tenant, system_prompt="Be brief.")
        publish(tenant, system_prompt="Be brief.\nBe kind.", bounds={"temperature": {"high": 1.0}})

        page = console_for(role).get(url(tenant))

        assert page.status_code == (200 if role in READERS else 403)
        if role in READERS:
            assert "+Be kind." in text(page)
            assert "Greatest temperature" in text(page)
            assert ("Roll back" in text(page)) is (role == "customer-success")

    def test_any_two_versions_are_compared(self) -> None:
        tenant = factories.make_tenant()
        for cap in (100, 200, 300):
            publish(tenant, max_output_tokens=cap)

        page = text(console_for("auditor").get(url(tenant, "?old=1&new=3")))

        assert "- 100" in page
        assert "+ 300" in page

    def test_a_version_that_is_not_there_is_not_found(self) -> None:
        assert console_for("auditor").get(url(factories.make_tenant(), "?new=7")).status_code == 404

    def test_it_costs_the_same_queries_for_any_number_of_versions(
        self, django_assert_max_num_queries: Any
    ) -> None:
        tenant = factories.make_tenant()
        for cap in range(1, 21):
            publish(tenant, max_output_tokens=cap)
        console = console_for("customer-success")
        console.get(url(tenant))

        with django_assert_max_num_queries(8):
            console.get(url(tenant))


@pytest.mark.django_db
class TestTheDraft:
    def test_it_is_edited_published_and_rolled_back(self) -> None:
        tenant = factories.make_tenant()
        publish(tenant, system_prompt="Old.")
        console = console_for("customer-success")
        values = draft_form(
            system_prompt="New.",
            defaults="temperature = 0.2",
            bound_temperature_high="1",
            stop="END\n\\n\\n",
            max_output_tokens="50",
            endpoints=["chat.completions"],
            tools_mode="only",
            tools="lookup",
            pii_mode="own",
            entity_US_SSN="block",
            patterns="CASE_NUMBER mask CASE-[0-9]{6}",
            deny_lists="PROJECTS redact Blue Whale, Red Kite",
            note="Why",
        )

        saved = console.post(url(tenant, "draft/"), values, follow=True)
        unchanged = configurations.published(tenant)
        question = console.get(url(tenant, "publish/"))
        console.post(url(tenant, "publish/"), {"seen": seen(question)})
        published = configurations.published(tenant)
        console.post(url(tenant, "1/restore/"))
        restored = configurations.published(tenant)

        assert "Nothing changes until it is published" in text(saved)
        assert unchanged is not None
        assert unchanged.content == {"system_prompt": "Old."}
        assert "Within a second every new request" in text(question)
        assert published is not None
        assert published.content == {
            "system_prompt": "New.",
            "defaults": {"temperature": 0.2},
            "bounds": {"temperature": {"high": 1.0}},
            "stop": ["END", "\n\n"],
            "max_output_tokens": 50,
            "endpoints": ["chat.completions"],
            "tools": ["lookup"],
            "pii": {
                "entities": {"US_SSN": "block"},
                "patterns": [{"name": "CASE_NUMBER", "action": "mask", "pattern": "CASE-[0-9]{6}"}],
                "deny_lists": [{"name": "PROJECTS", "action": "redact", "words": ["Blue Whale", "Red Kite"]}],
                "completions": False,
                "ner": False,
            },
        }
        assert restored is not None
        assert (restored.number, restored.content) == (3, {"system_prompt": "Old."})

    def test_only_what_was_looked_at_is_published(self) -> None:
        tenant = factories.make_tenant()
        configurations.save_draft(
            tenant=tenant, content={"system_prompt": "Reviewed."}, now=clock.now(), user=None
        )
        console = console_for("customer-success")
        looked = seen(console.get(url(tenant, "publish/")))
        configurations.save_draft(tenant=tenant, content={"pii": None}, now=clock.now(), user=None)

        stale = console.post(url(tenant, "publish/"), {"seen": looked}, follow=True)
        blind = console.post(url(tenant, "publish/"), follow=True)
        before = configurations.published(tenant)
        console.post(url(tenant, "publish/"), {"seen": seen(stale)})
        after = configurations.published(tenant)

        assert before is None
        for page in (stale, blind):
            assert "changed after this page was shown" in text(page)
            assert "Publish configuration" in text(page)
        assert after is not None
        assert after.content == {"pii": None}

    def test_a_roll_back_meanwhile_has_the_draft_looked_at_again(self) -> None:
        tenant = factories.make_tenant()
        publish(tenant, max_output_tokens=1)
        publish(tenant, max_output_tokens=2)
        configurations.save_draft(tenant=tenant, content={"max_output_tokens": 3}, now=clock.now(), user=None)
        console = console_for("customer-success")
        looked = seen(console.get(url(tenant, "publish/")))
        console.post(url(tenant, "1/restore/"))

        stale = console.post(url(tenant, "publish/"), {"seen": looked}, follow=True)

        assert "changed after this page was shown" in text(stale)

    def test_a_colleagues_draft_is_not_overwritten_unseen(self) -> None:
        tenant = factories.make_tenant()
        console = console_for("customer-success")
        looked = seen(console.get(url(tenant, "draft/")))
        configurations.save_draft(
            tenant=tenant, content={"system_prompt": "Theirs."}, now=clock.now(), user=None
        )
        mine = draft_form(system_prompt="Mine.", seen=looked)

        stale = console.post(url(tenant, "draft/"), mine)
        kept = configurations.draft_of(tenant)
        console.post(url(tenant, "draft/"), mine | {"seen": seen(stale)})
        replaced = configurations.draft_of(tenant)

        assert stale.status_code == 422
        assert "Somebody else changed this draft" in text(stale)
        assert "Mine." in text(stale)
        assert kept is not None
        assert kept.content == {"system_prompt": "Theirs."}
        assert replaced is not None
        assert replaced.content == {"system_prompt": "Mine."}

    def test_what_is_stored_comes_back_into_the_editor_unchanged(self) -> None:
        tenant = factories.make_tenant()
        content = {
            "defaults": {"temperature": 0.5, "seed": 7},
            "stop": ["a\nb"],
            "tools": [],
            "pii": {**POLICY, "patterns": [], "deny_lists": [], "completions": True, "ner": False},
        }
        publish(tenant, **content)
        console = console_for("customer-success")
        page = console.get(url(tenant, "draft/"))
        form = page.context["form"]
        posted = {name: form[name].value() for name in form.fields if form[name].value() not in (None, False)}

        console.post(url(tenant, "draft/"), posted)

        draft = configurations.draft_of(tenant)
        assert draft is not None
        assert draft.content == content

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"defaults": "temperature 0.2"}, "is not a parameter, =, and a value"),
            ({"defaults": "temperature = 9"}, "is not accepted by any of the endpoints"),
            ({"defaults": "user = 1"}, "no parameter that can have a default"),
            ({"bound_temperature_low": "1", "bound_temperature_high": "0"}, "low end above its high one"),
            ({"stop": "\n".join("abcdefghijklmnopq")}, "words"),
            ({"max_output_tokens": "0"}, "greater than or equal to 1"),
            ({"endpoints": ["files"]}, "Select a valid choice"),
            ({"pii_mode": "own", "patterns": "CASE mask ("}, "PII policy cannot be used"),
            ({"pii_mode": "own", "patterns": "CASE hide x"}, "is not NAME, then mask, redact or block"),
        ],
    )
    def test_what_is_wrong_is_said_in_words_and_nothing_is_saved(
        self, values: dict[str, Any], words: str
    ) -> None:
        tenant = factories.make_tenant()

        answer = console_for("customer-success").post(url(tenant, "draft/"), draft_form(**values))

        assert answer.status_code == 422
        assert words in text(answer)
        assert configurations.draft_of(tenant) is None

    def test_discarding_asks_first(self) -> None:
        tenant = factories.make_tenant()
        configurations.save_draft(tenant=tenant, content={}, now=clock.now(), user=None)
        console = console_for("customer-success")

        question = console.get(url(tenant, "discard/"))
        before = configurations.draft_of(tenant)
        console.post(url(tenant, "discard/"))

        assert "deleted for good" in text(question)
        assert before is not None
        assert configurations.draft_of(tenant) is None

    @pytest.mark.parametrize("role", sorted(set(ROLES) - {"customer-success"}))
    def test_others_change_nothing(self, role: str) -> None:
        tenant = factories.make_tenant()
        publish(tenant, system_prompt="Old.")
        publish(tenant, system_prompt="New.")
        console = console_for(role)

        answers = [
            console.post(url(tenant, path)) for path in ("draft/", "publish/", "discard/", "1/restore/")
        ]

        assert {answer.status_code for answer in answers} == {403}
        assert tenant.configurations.count() == 2


@pytest.mark.django_db
class TestTryingAPolicy:
    def page(self, tenant: Tenant) -> str:
        return f"/tenants/tenant/{tenant.pk}/pii/"

    def test_it_shows_what_is_found_and_what_the_model_would_read(self) -> None:
        tenant = factories.make_tenant()
        publish(tenant, pii=POLICY)

        page = text(
            console_for("customer-success").post(
                self.page(tenant), {"which": "in_force", "text": f"Write to {SECRET} now"}
            )
        )

        assert f"{SECRET}<small>EMAIL_ADDRESS</small>" in page
        assert "&lt;EMAIL_ADDRESS_" in page

    def test_what_is_blocked_says_so(self) -> None:
        tenant = factories.make_tenant(tier=factories.make_tier(pii_policy=POLICY))

        page = text(
            console_for("operator").post(self.page(tenant), {"which": "tier", "text": "SSN 536-90-4399"})
        )

        assert "would be refused" in page
        assert "US_SSN" in page

    def test_a_policy_chosen_on_the_page_is_tried_without_being_saved(self) -> None:
        tenant = factories.make_tenant()
        values = {"which": "here", "text": "CASE-123456", "patterns": "CASE_NUMBER mask CASE-[0-9]{6}"}

        page = text(console_for("auditor").post(self.page(tenant), values))

        assert "CASE-123456<small>CASE_NUMBER</small>" in page
        assert not tenant.configurations.exists()

    def test_the_text_is_stored_and_logged_nowhere(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        tenant = factories.make_tenant(tier=factories.make_tier(pii_policy=POLICY))

        answer = console_for("operator").post(self.page(tenant), {"which": "tier", "text": SECRET})

        assert "no-store" in answer["Cache-Control"]
        assert SECRET not in everything_stored()
        assert SECRET not in caplog.text
        assert SECRET not in str(answer.cookies)
        assert SECRET not in str([session.get_decoded() for session in Session.objects.all()])

    def test_too_long_a_text_and_a_broken_policy_say_what_to_do(self) -> None:
        tenant = factories.make_tenant()
        console = console_for("operator")

        long = console.post(self.page(tenant), {"which": "tier", "text": "x" * 20_001})
        broken = console.post(self.page(tenant), {"which": "here", "text": "x", "patterns": "A mask ("})

        assert "at most 20000 characters" in text(long)
        assert "cannot be used" in text(broken)

    @pytest.mark.parametrize("role", sorted(ROLES))
    def test_who_sees_configurations_may_try(self, role: str) -> None:
        answer = console_for(role).get(self.page(factories.make_tenant()))

        assert answer.status_code == (200 if role in READERS else 403)
