"""The tenant, app and key pages as people use them."""

import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from portal.core import clock
from portal.tenants.models import ApiKey, Tenant
from tests import factories
from tests.portal.tenants.test_services import everything_stored

SECRET = re.compile(r"sk-tn-[0-9a-f]{12}-[0-9a-f]{48}")


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(factories.make_user("customer-success"))
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


def tenant_form(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    """What the tenant page posts."""
    empty = {
        f"{prefix}-{name}": count
        for prefix in ("apps", "aliases")
        for name, count in (("TOTAL_FORMS", 0), ("INITIAL_FORMS", 0))
    }
    return {
        **empty,
        "name": tenant.name,
        "tier": tenant.tier_id,
        "service_class": tenant.service_class,
        "pool": tenant.pool_id,
        "billing_timezone": tenant.billing_timezone,
        "workload_profile": tenant.workload_profile,
        **changes,
    }


def new_key(console: Client, **values: Any) -> Any:
    app = values.pop("app", None) or factories.make_app()
    return console.post(reverse("admin:tenants_apikey_add"), {"app": app.pk, **values})


@pytest.mark.django_db
class TestTheSecret:
    def test_it_is_shown_once_and_stored_nowhere(
        self, console: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)

        answer = new_key(console)

        found = SECRET.findall(text(answer))
        assert len(set(found)) == 1
        random_part = found[0].rpartition("-")[2]
        assert "no-store" in answer["Cache-Control"]
        assert random_part not in str(answer.cookies)
        assert random_part not in everything_stored()
        assert random_part not in str([session.get_decoded() for session in Session.objects.all()])
        assert random_part not in caplog.text

    def test_no_later_page_shows_it(self, console: Client) -> None:
        new_key(console)
        key = ApiKey.objects.get()

        later = [
            console.get(reverse("admin:tenants_apikey_change", args=[key.pk])),
            console.get(reverse("admin:tenants_apikey_changelist")),
            console.get(reverse("admin:tenants_apikey_history", args=[key.pk])),
            console.get(reverse("admin:tenants_tenant_change", args=[key.app.tenant_id])),
        ]

        assert {answer.status_code for answer in later} == {200}
        assert not any(SECRET.search(text(answer)) for answer in later)
        assert key.pk in text(later[0])

    def test_a_reload_of_the_page_does_not_post_again(self, console: Client) -> None:
        assert "history.replaceState" in text(new_key(console))


@pytest.mark.django_db
class TestKeys:
    def test_what_is_wrong_is_said_at_its_field_and_no_key_is_made(self, console: Client) -> None:
        yesterday = clock.now() - timedelta(days=1)

        answer = new_key(console, expires_at_0=f"{yesterday:%Y-%m-%d}", expires_at_1="12:00", concurrency=0)

        assert not ApiKey.objects.exists()
        assert "greater than or equal to 1" in text(answer)

    def test_an_expiry_in_the_past_says_what_to_do(self, console: Client) -> None:
        answer = new_key(console, expires_at_0="2020-01-01", expires_at_1="12:00")

        assert "choose a later moment" in text(answer)
        assert not ApiKey.objects.exists()

    def test_revoking_asks_once_in_words_and_then_does_it(self, console: Client) -> None:
        key = factories.make_key(now=clock.now()).key
        url = reverse("admin:tenants_apikey_change", args=[key.pk]).replace("change/", "revoke/")

        question = console.get(url)
        unchanged = ApiKey.objects.get()
        console.post(url)

        assert "only usable key: the app stops working" in text(question)
        assert unchanged.revoked_at is None
        assert ApiKey.objects.get().revoked_at is not None

    def test_a_second_key_is_mentioned_when_one_is_revoked(self, console: Client) -> None:
        key = factories.make_key(now=clock.now()).key
        factories.make_key(key.app, now=clock.now())

        question = console.get(f"/tenants/apikey/{key.pk}/revoke/")

        assert "1 other usable key" in text(question)

    def test_rotating_shows_the_new_secret_and_until_when_the_old_key_works(self, console: Client) -> None:
        key = factories.make_key(now=clock.now()).key

        answer = console.post(f"/tenants/apikey/{key.pk}/rotate/", {"hours": 2})

        key.refresh_from_db()
        assert SECRET.search(text(answer))
        assert key.expires_at is not None
        assert f"{key.expires_at:%Y-%m-%d %H:%M}" in text(answer)

    @pytest.mark.parametrize("hours", ["-1", "721", "x", ""])
    def test_an_overlap_that_makes_no_sense_is_refused(self, console: Client, hours: str) -> None:
        key = factories.make_key(now=clock.now()).key

        console.post(f"/tenants/apikey/{key.pk}/rotate/", {"hours": hours})

        assert ApiKey.objects.count() == 1

    def test_a_revoked_key_can_be_neither_changed_rotated_nor_revoked(self, console: Client) -> None:
        key = factories.make_key(now=clock.now()).key
        console.post(f"/tenants/apikey/{key.pk}/revoke/")

        answers = [
            console.post(f"/tenants/apikey/{key.pk}/change/", {"name": "x"}),
            console.post(f"/tenants/apikey/{key.pk}/rotate/", {"hours": 1}),
            console.post(f"/tenants/apikey/{key.pk}/revoke/"),
        ]

        assert {answer.status_code for answer in answers} == {403}

    def test_an_auditor_sees_keys_and_can_do_nothing_with_them(self) -> None:
        auditor = Client()
        auditor.force_login(factories.make_user("auditor"))
        key = factories.make_key(now=clock.now()).key

        answers = [auditor.post(f"/tenants/apikey/{key.pk}/{what}/") for what in ("rotate", "revoke")]

        assert {answer.status_code for answer in answers} == {403}
        assert auditor.get(f"/tenants/apikey/{key.pk}/change/").status_code == 200
        assert ApiKey.objects.get().revoked_at is None

    @pytest.mark.parametrize("what", ["change", "rotate", "revoke"])
    def test_an_unknown_key_is_no_server_error(self, console: Client, what: str) -> None:
        answer = console.get(f"/tenants/apikey/000000000000/{what}/")

        assert answer.status_code in {302, 403, 404}


@pytest.mark.django_db
class TestTenants:
    def test_suspending_says_what_stops_and_reactivating_brings_it_back(self, console: Client) -> None:
        app = factories.make_app()
        factories.make_key(app, now=clock.now())
        url = f"/tenants/tenant/{app.tenant_id}"

        question = console.get(f"{url}/suspend/")
        console.post(f"{url}/suspend/")
        suspended = Tenant.objects.get().status
        console.post(f"{url}/reactivate/")

        assert "1 app" in text(question)
        assert "1 usable key" in text(question)
        assert (suspended, Tenant.objects.get().status) == ("suspended", "active")

    def test_the_page_shows_each_limit_with_where_it_comes_from(self, console: Client) -> None:
        tier = factories.make_tier(name="Gold", requests_per_minute=60)
        tenant = factories.make_tenant(tier=tier, monthly_spend_limit=50)

        page = text(console.get(f"/tenants/tenant/{tenant.pk}/change/"))

        assert "60 <em>(from tier Gold)" in page
        assert "50.00 <em>(set here; tier Gold has none)" in page
        assert 'value="50"' in page

    def test_limits_are_changed_on_the_page(self, console: Client) -> None:
        tenant = factories.make_tenant()

        answer = console.post(
            f"/tenants/tenant/{tenant.pk}/change/", tenant_form(tenant, monthly_spend_limit="0.01")
        )

        tenant.refresh_from_db()
        assert answer.status_code == 302
        assert str(tenant.monthly_spend_limit) == "0.010000"

    def test_a_pool_that_cannot_serve_the_tenants_adapters_is_refused(self, console: Client) -> None:
        version = factories.make_version()
        tenant = version.adapter.tenant
        tenant.aliases.create(name="assistant", version=version)
        other = factories.make_pool(base_model="another")

        answer = console.post(f"/tenants/tenant/{tenant.pk}/change/", tenant_form(tenant, pool=other.pk))

        assert answer.status_code == 200
        assert "cannot serve the adapters behind assistant" in text(answer)

    def test_another_tenants_version_cannot_be_chosen_on_the_page(self, console: Client) -> None:
        foreign = factories.make_version()
        tenant = factories.make_tenant(pool=foreign.adapter.tenant.pool)
        rows = {
            "aliases-TOTAL_FORMS": 1,
            "aliases-0-name": "stolen",
            "aliases-0-version": str(foreign.pk),
            "aliases-0-tenant": str(tenant.pk),
        }

        answer = console.post(f"/tenants/tenant/{tenant.pk}/change/", tenant_form(tenant, **rows))

        assert answer.status_code == 200
        assert not tenant.aliases.exists()
        assert str(foreign.pk) not in text(console.get(f"/tenants/tenant/{tenant.pk}/change/"))

    def test_an_alias_and_an_app_are_added_on_the_page(self, console: Client) -> None:
        version = factories.make_version()
        tenant = version.adapter.tenant
        rows = {
            "aliases-TOTAL_FORMS": 1,
            "aliases-0-name": "assistant",
            "aliases-0-version": str(version.pk),
            "aliases-0-tenant": str(tenant.pk),
            "apps-TOTAL_FORMS": 1,
            "apps-0-name": "Chat",
            "apps-0-tenant": str(tenant.pk),
        }

        answer = console.post(f"/tenants/tenant/{tenant.pk}/change/", tenant_form(tenant, **rows))

        assert answer.status_code == 302
        assert tenant.aliases.get().version == version
        assert tenant.apps.get().name == "Chat"

    def test_a_tenant_is_added_and_wrong_input_is_named(self, console: Client) -> None:
        tier, pool = factories.make_tier(), factories.make_pool()
        values = {
            "name": "Initech",
            "slug": "initech",
            "tier": tier.pk,
            "service_class": "shared",
            "pool": pool.pk,
            "billing_timezone": "Mars/Olympus",
        }

        wrong = console.post("/tenants/tenant/add/", values)
        right = console.post("/tenants/tenant/add/", {**values, "billing_timezone": "Europe/Berlin"})

        assert "Not an IANA time zone, such as Europe/Berlin" in text(wrong)
        assert right.status_code == 302
        assert Tenant.objects.get().slug == "initech"

    def test_long_names_and_markup_in_them_do_no_harm(self, console: Client) -> None:
        name = "<script>alert(1)</script>" + "W" * 95
        tenant = factories.make_tenant(name=name)
        factories.make_key(factories.make_app(tenant), now=clock.now())

        answers = [
            console.get("/tenants/tenant/"),
            console.get(f"/tenants/tenant/{tenant.pk}/change/"),
            console.get(f"/tenants/tenant/{tenant.pk}/suspend/"),
        ]

        assert {answer.status_code for answer in answers} == {200}
        assert not any("<script>alert(1)" in text(answer) for answer in answers)

    def test_the_list_costs_the_same_queries_for_any_number_of_tenants(
        self, console: Client, django_assert_max_num_queries: Any
    ) -> None:
        for _ in range(60):
            factories.make_key(now=clock.now())
        console.get("/tenants/tenant/")
        cache.clear()

        with django_assert_max_num_queries(12):
            answer = console.get("/tenants/tenant/")

        assert text(answer).count("/change/") >= 50
