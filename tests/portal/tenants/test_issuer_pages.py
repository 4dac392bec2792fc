"""The pages of token issuers, apps' limits and keys' restrictions."""

import json
import logging
from typing import Any

import pytest
from django.test import Client

from portal.core import clock
from portal.core.roles import ROLES
from portal.tenants import issuers
from portal.tenants.models import ApiKey, App, TokenIssuer
from portal.tenants.sealing import seal_secret
from tests import factories
from tests.portal.tenants.test_services import everything_stored

SECRET = "correct-horse-battery-staple-canary-0001"


def console_for(role: str) -> Client:
    client = Client()
    client.force_login(factories.make_user(role))
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


def issuer_form(app: App, /, **changes: Any) -> dict[str, Any]:
    return {
        "tenant": app.tenant_id,
        "app": app.pk,
        "name": "Login",
        "active": "on",
        "issuer": "https://login.example.com/",
        "audience": "tenantry",
        "algorithms": ["HS256"],
        "secret": SECRET,
        "jwks": "[]",
        "leeway_seconds": 30,
        "max_age_seconds": 3600,
        "claim_end_user": "sub",
        "ip_ranges": "192.0.2.0/24",
        **changes,
    }


def make_issuer(**fields: Any) -> TokenIssuer:
    app = factories.make_app()
    values = {"algorithms": ["HS256"], "secret": SECRET, **fields}
    return issuers.create_issuer(
        tenant=app.tenant,
        app=app,
        name="Login",
        issuer="https://login.example.com/",
        audience="tenantry",
        now=clock.now(),
        user=None,
        **values,
    )


@pytest.mark.django_db
class TestIssuers:
    def test_one_is_added_and_its_secret_is_never_seen_again(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        app = factories.make_app()
        console = console_for("customer-success")

        answer = console.post("/tenants/tokenissuer/add/", issuer_form(app), follow=True)
        issuer = TokenIssuer.objects.get()
        page = console.get(f"/tenants/tokenissuer/{issuer.pk}/change/")

        assert issuer.ip_ranges == ["192.0.2.0/24"]
        assert issuer.created_by is not None
        assert len(issuer.sealed_secrets) == 1
        assert "1 shared secret, sealed" in text(page)
        for seen in (text(answer), text(page), everything_stored(), caplog.text):
            assert SECRET not in seen

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"secret": ""}, "need a shared secret"),
            ({"secret": "short"}, "at least 32 bytes"),
            ({"algorithms": ["RS256"], "secret": ""}, "Give the public keys"),
            ({"algorithms": ["RS256", "HS256"]}, "never from both"),
            ({"ip_ranges": "192.0.2.1/24"}, "did you mean 192.0.2.0/24"),
            ({"jwks": '[{"kty": "RSA", "d": "x"}]'}, "private part"),
            ({"audience": ""}, "This field is required"),
        ],
    )
    def test_what_is_wrong_is_said_and_nothing_is_saved(self, changes: dict[str, Any], words: str) -> None:
        app = factories.make_app()

        answer = console_for("customer-success").post(
            "/tenants/tokenissuer/add/", issuer_form(app, **changes)
        )

        assert words in text(answer)
        assert not TokenIssuer.objects.exists()

    def test_another_tenants_app_is_refused(self) -> None:
        app = factories.make_app()
        foreign = factories.make_app()

        answer = console_for("customer-success").post(
            "/tenants/tokenissuer/add/", issuer_form(app, app=foreign.pk)
        )

        assert "belongs to another tenant" in text(answer)

    def test_it_is_changed_and_keeps_its_secret(self) -> None:
        issuer = make_issuer()
        before = issuer.sealed_secrets
        values = issuer_form(
            issuer.app, name="Renamed", issuer="https://new.example.com/", requests_per_minute="5"
        )
        del values["secret"], values["tenant"]

        answer = console_for("customer-success").post(f"/tenants/tokenissuer/{issuer.pk}/change/", values)

        issuer.refresh_from_db()
        assert answer.status_code == 302
        assert (issuer.name, issuer.issuer) == ("Renamed", "https://new.example.com/")
        assert issuer.requests_per_minute == 5
        assert issuer.sealed_secrets == before

    def test_a_form_that_was_open_for_long_brings_no_removed_key_back(self) -> None:
        old, new = ({"kty": "RSA", "n": name, "e": "AQAB", "kid": name} for name in ("old", "new"))
        issuer = make_issuer(algorithms=["RS256"], secret="", jwks_url="https://x.example/jwks", jwks=[old])
        console = console_for("customer-success")
        url = f"/tenants/tokenissuer/{issuer.pk}/change/"
        shown = text(console.get(url))
        TokenIssuer.objects.filter(pk=issuer.pk).update(jwks=[new], max_age_seconds=60)
        values = issuer_form(
            issuer.app,
            name="Renamed",
            algorithms=["RS256"],
            jwks=json.dumps([old]),
            jwks_url=issuer.jwks_url,
            max_age_seconds=60,
        )
        del values["secret"], values["tenant"]

        answer = console.post(url, values)
        saved = TokenIssuer.objects.get()
        moved = console.post(url, values | {"jwks_url": "https://y.example/jwks"})

        assert "Read from the address" in shown
        assert (answer.status_code, saved.name, saved.jwks) == (302, "Renamed", [new])
        assert (moved.status_code, TokenIssuer.objects.get().jwks) == (302, [])

    def test_without_its_address_the_keys_are_given_by_hand(self) -> None:
        key = {"kty": "RSA", "n": "x", "e": "AQAB", "kid": "one"}
        issuer = make_issuer(algorithms=["RS256"], secret="", jwks_url="https://x.example/jwks", jwks=[key])
        console = console_for("customer-success")
        url = f"/tenants/tokenissuer/{issuer.pk}/change/"
        values = issuer_form(issuer.app, algorithms=["RS256"])
        del values["secret"], values["tenant"]

        refused = console.post(url, values)
        console.post(url, values | {"jwks": json.dumps([key | {"kid": "two"}])})

        assert "Give the public keys" in text(refused)
        assert "readonly" not in text(refused).partition('name="jwks"')[2].partition(">")[0]
        saved = TokenIssuer.objects.get()
        assert (saved.jwks_url, saved.jwks[0]["kid"]) == ("", "two")

    def test_its_secret_is_rotated_and_a_short_one_is_refused(self) -> None:
        issuer = make_issuer()
        console = console_for("customer-success")
        url = f"/tenants/tokenissuer/{issuer.pk}/rotate-secret/"

        short = console.post(url, {"secret": "short"})
        console.post(url, {"secret": SECRET[::-1], "keep_previous": "on"})

        issuer.refresh_from_db()
        assert "at least 32 bytes" in text(short)
        assert SECRET[::-1] not in text(short)
        assert len(issuer.sealed_secrets) == 2

    def test_reading_keys_says_what_came_of_it(self) -> None:
        issuer = make_issuer(algorithms=["RS256"], secret="", jwks_url="https://127.0.0.1:1/jwks")

        answer = console_for("customer-success").post(
            f"/tenants/tokenissuer/{issuer.pk}/refresh-keys/", follow=True
        )

        assert "could not be read, the known ones stay" in text(answer)

    def test_deleting_asks_first(self) -> None:
        issuer = make_issuer()
        console = console_for("customer-success")
        url = f"/tenants/tokenissuer/{issuer.pk}/delete/"

        console.get(url)
        before = TokenIssuer.objects.count()
        console.post(url, {"post": "yes"})

        assert (before, TokenIssuer.objects.count()) == (1, 0)

    @pytest.mark.parametrize("role", sorted(ROLES))
    def test_roles_see_and_change_what_they_may(self, role: str) -> None:
        issuer = make_issuer()
        verbs = ROLES[role].get("tenants.tokenissuer", ())
        console = console_for(role)
        page = f"/tenants/tokenissuer/{issuer.pk}"

        seen = [console.get("/tenants/tokenissuer/"), console.get(f"{page}/change/")]
        rotated = console.post(f"{page}/rotate-secret/", {"secret": SECRET})
        added = console.get("/tenants/tokenissuer/add/")

        assert {one.status_code for one in seen} == {200 if "view" in verbs else 403}
        assert rotated.status_code == (302 if "change" in verbs else 403)
        assert added.status_code == (200 if "add" in verbs else 403)

    def test_the_list_costs_the_same_queries_for_any_number(self, django_assert_max_num_queries: Any) -> None:
        for _ in range(30):
            app = factories.make_app()
            TokenIssuer.objects.create(
                tenant=app.tenant,
                app=app,
                name="Login",
                issuer=f"https://{app.pk}",
                audience="a",
                algorithms=["HS256"],
                sealed_secrets=[seal_secret(SECRET, tenant_id=app.tenant_id)],
                created_at=clock.now(),
            )
        console = console_for("operator")
        console.get("/tenants/tokenissuer/")

        with django_assert_max_num_queries(10):
            console.get("/tenants/tokenissuer/")


@pytest.mark.django_db
class TestKeysAndApps:
    def test_a_key_is_made_for_some_models_and_networks_only(self) -> None:
        version = factories.make_version()
        tenant = version.adapter.tenant
        tenant.aliases.create(name="assistant", version=version)
        app = factories.make_app(tenant)
        values = {"app": app.pk, "aliases": "assistant\n", "ip_ranges": "192.0.2.0/24\n2001:db8::/32"}

        console_for("customer-success").post("/tenants/apikey/add/", values)

        key = ApiKey.objects.get()
        assert key.aliases == ["assistant"]
        assert key.ip_ranges == ["192.0.2.0/24", "2001:db8::/32"]

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"aliases": "asistant"}, "has no alias asistant"),
            ({"aliases": "Not An Alias"}, "cannot be an alias"),
            ({"ip_ranges": "192.0.2.1/24"}, "did you mean 192.0.2.0/24"),
        ],
    )
    def test_mistyped_models_and_networks_are_named(self, values: dict[str, str], words: str) -> None:
        console = console_for("customer-success")
        app = factories.make_app()
        key = factories.make_key(app, now=clock.now()).key

        new = console.post("/tenants/apikey/add/", {"app": app.pk, **values})
        changed = console.post(f"/tenants/apikey/{key.pk}/change/", {"name": "", **values})

        assert words in text(new)
        assert words in text(changed)
        assert ApiKey.objects.count() == 1

    def test_restrictions_are_lifted_by_emptying_their_fields(self) -> None:
        app = factories.make_app()
        app.tenant.aliases.create(name="assistant")
        key = factories.make_key(app, now=clock.now(), aliases=["assistant"], ip_ranges=["192.0.2.0/24"]).key

        console_for("customer-success").post(
            f"/tenants/apikey/{key.pk}/change/", {"name": "x", "aliases": "", "ip_ranges": ""}
        )

        key.refresh_from_db()
        assert (key.aliases, key.ip_ranges, key.name) == (None, [], "x")

    def test_an_apps_limits_are_set_on_its_page_and_listed(self) -> None:
        app = factories.make_app()
        console = console_for("customer-success")

        console.post(
            f"/tenants/app/{app.pk}/change/",
            {"name": app.name, "tokens_per_minute": "500", "daily_spend_limit": "2.5"},
        )

        app.refresh_from_db()
        assert (app.tokens_per_minute, str(app.daily_spend_limit)) == (500, "2.500000")
        assert "tokens, spend today" in text(console.get("/tenants/app/"))
        assert 'value="2.5"' in text(console.get(f"/tenants/app/{app.pk}/change/"))
