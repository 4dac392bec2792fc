"""Tenants, tiers, apps, keys, adapters, aliases, pools: through the API to the gateways."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from gateway_hooks.contract.api_keys import key_sha256
from portal.adapters.models import Adapter, AdapterVersion, Alias
from portal.fleet.models import NodeRate, Pool
from portal.snapshots.models import PublishedSnapshot
from portal.tenants.models import ApiKey, App, Tenant
from portal.tiers.models import Tier
from tests import factories

OnCommit = Callable[..., Any]


def post(client: APIClient, name: str, expect: int = 201, /, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/api/v1/{name}/", body, format="json")
    assert answer.status_code == expect, answer.content
    return dict(answer.json())


def patch(client: APIClient, path: str, expect: int = 200, /, **body: Any) -> dict[str, Any]:
    answer = client.patch(f"/api/v1/{path}/", body, format="json")
    assert answer.status_code == expect, answer.content
    return dict(answer.json())


def test_a_customer_is_set_up_from_pool_to_alias_through_the_api_alone(admin: APIClient) -> None:
    pool = post(admin, "pools", name="cpu", base_model="demo-model", model="demo/model")
    tier = post(admin, "tiers", name="Gold", slug="gold", tokens_per_minute=5000)
    tenant = post(admin, "tenants", name="Acme", slug="acme", tier=tier["id"], pool=pool["id"])
    app = post(admin, "apps", tenant=tenant["id"], name="Chat")
    key = post(admin, "keys", app=app["id"], name="production", concurrency=2, monthly_spend_limit="12.50")
    alias = post(admin, "aliases", tenant=tenant["id"], name="base")
    rate = post(
        admin, "node-rates", pool=pool["id"], hourly_rate="1.25", effective_from="2026-01-01T00:00:00Z"
    )

    assert key["tenant"] == tenant["id"]
    assert key["monthly_spend_limit"] == "12.500000"
    assert ApiKey.objects.get(pk=key["id"]).sha256 == key_sha256(key["secret"])
    assert Alias.objects.get(pk=alias["id"]).version is None
    assert NodeRate.objects.get(pk=rate["id"]).currency == "USD"


def test_the_secret_of_a_key_is_in_one_answer_that_nobody_may_store(admin: APIClient) -> None:
    app = factories.make_app()

    made = admin.post("/api/v1/keys/", {"app": app.pk}, format="json")
    secret = made.json()["secret"]
    later = admin.get(f"/api/v1/keys/{made.json()['id']}/")

    assert made["Cache-Control"] == "no-store"
    assert "secret" not in later.json()
    assert secret not in later.content.decode() + admin.get("/api/v1/keys/").content.decode()


def test_rotating_gives_a_second_key_and_bounds_the_first(admin: APIClient) -> None:
    old = factories.make_key().key

    new = admin.post(f"/api/v1/keys/{old.pk}/rotate/", {"overlap_seconds": 60}, format="json").json()

    old.refresh_from_db()
    assert old.replaced_by_id == new["id"]
    assert old.expires_at == ApiKey.objects.get(pk=new["id"]).created_at + timedelta(seconds=60)
    assert new["secret"].startswith(f"sk-tn-{new['id']}-")


def test_a_revoked_key_cannot_be_rotated(admin: APIClient) -> None:
    key = factories.make_key().key

    revoked = admin.post(f"/api/v1/keys/{key.pk}/revoke/").json()
    refused = admin.post(f"/api/v1/keys/{key.pk}/rotate/", {}, format="json")

    assert revoked["revoked_at"] is not None
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "key_revoked"


@pytest.mark.parametrize("kind", ["tenants", "tiers", "apps", "keys", "adapters", "aliases", "pools"])
def test_a_change_says_only_what_it_changes(admin: APIClient, kind: str) -> None:
    version = factories.make_version()
    tenant = version.adapter.tenant
    app = factories.make_app(tenant)
    rows: dict[str, tuple[Any, dict[str, Any]]] = {
        "tenants": (tenant, {"region": "eu"}),
        "tiers": (tenant.tier, {"max_output_tokens": 7}),
        "apps": (app, {"name": "Renamed"}),
        "keys": (factories.make_key(app).key, {"requests_per_minute": 3}),
        "adapters": (version.adapter, {"description": "New voice"}),
        "aliases": (Alias.objects.create(tenant=tenant, name="voice"), {"version": str(version.pk)}),
        "pools": (tenant.pool, {"max_num_seqs": 3}),
    }
    row, change = rows[kind]
    before = admin.get(f"/api/v1/{kind}/{row.pk}/").json()

    after = patch(admin, f"{kind}/{row.pk}", **change)

    assert after == before | change
    assert admin.get(f"/api/v1/{kind}/{row.pk}/").json() == after


def test_a_change_does_not_undo_what_was_done_meanwhile(admin: APIClient) -> None:
    tenant = factories.make_tenant()

    admin.post(f"/api/v1/tenants/{tenant.pk}/suspend/")
    patch(admin, f"tenants/{tenant.pk}", region="eu", status="active")

    assert Tenant.objects.get().status == "suspended"


def test_what_nothing_needs_is_deleted(admin: APIClient) -> None:
    tenant = factories.make_tenant()
    rows = {
        "tiers": factories.make_tier(),
        "pools": factories.make_pool(),
        "apps": factories.make_app(tenant),
        "adapters": factories.make_adapter(tenant),
        "aliases": Alias.objects.create(tenant=tenant, name="base"),
    }

    for name, row in rows.items():
        assert admin.delete(f"/api/v1/{name}/{row.pk}/").status_code == 204

    assert (Tier.objects.count(), Pool.objects.count()) == (1, 1)
    assert not any(model.objects.exists() for model in (App, Adapter, Alias))


def test_what_something_needs_stays(admin: APIClient) -> None:
    version = factories.make_version()
    tenant = version.adapter.tenant
    key = factories.make_key(factories.make_app(tenant)).key
    rows = {"tiers": tenant.tier, "pools": tenant.pool, "apps": key.app, "adapters": version.adapter}

    for name, row in rows.items():
        answer = admin.delete(f"/api/v1/{name}/{row.pk}/")
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "in_use"
        assert admin.get(f"/api/v1/{name}/{row.pk}/").status_code == 200


def test_tenants_and_keys_are_never_deleted(admin: APIClient) -> None:
    key = factories.make_key().key

    assert admin.delete(f"/api/v1/tenants/{key.app.tenant_id}/").status_code == 405
    assert admin.delete(f"/api/v1/keys/{key.pk}/").status_code == 405


def test_a_pool_cannot_leave_the_aliases_that_it_serves(admin: APIClient) -> None:
    version = factories.make_version(rank=8)
    tenant = version.adapter.tenant
    Alias.objects.create(tenant=tenant, name="voice", version=version)
    other = factories.make_pool(base_model="other-model")

    by_pool = patch(admin, f"pools/{tenant.pool_id}", 409, max_lora_rank=4)
    by_tenant = patch(admin, f"tenants/{tenant.pk}", 409, pool=other.pk)

    assert by_pool["error"]["code"] == "pool_in_use"
    assert by_tenant["error"]["code"] == "pool_cannot_serve"


def test_an_app_and_an_adapter_stay_with_their_tenant(admin: APIClient) -> None:
    other = factories.make_tenant()
    app, adapter = factories.make_app(), factories.make_adapter()

    assert patch(admin, f"apps/{app.pk}", 409, tenant=str(other.pk))["error"]["code"] == "app_keeps_tenant"
    refused = patch(admin, f"adapters/{adapter.pk}", 409, tenant=str(other.pk))
    assert refused["error"]["code"] == "adapter_keeps_tenant"


def test_an_alias_leads_to_no_other_tenants_adapter(admin: APIClient) -> None:
    version, stranger = factories.make_version(), factories.make_tenant()

    refused = post(admin, "aliases", 422, tenant=str(stranger.pk), name="stolen", version=str(version.pk))

    assert refused["error"]["code"] == "alias_foreign_version"
    assert not Alias.objects.exists()


class TestUpload:
    def test_a_version_is_uploaded_checked_and_listed(self, admin: APIClient) -> None:
        adapter = factories.make_adapter()
        files = factories.adapter_files()

        answer = self.upload(admin, adapter, files)

        assert answer.status_code == 201, answer.content
        shown = answer.json()
        assert (shown["number"], shown["rank"], shown["target_modules"]) == (1, 2, ["q_proj"])
        assert admin.get(f"/api/v1/adapter-versions/?adapter={adapter.pk}").json()["results"] == [shown]

    def test_the_same_files_are_no_second_version(self, admin: APIClient) -> None:
        adapter = factories.make_adapter()

        self.upload(admin, adapter, factories.adapter_files())
        again = self.upload(admin, adapter, factories.adapter_files())

        assert again.status_code == 409
        assert again.json()["error"]["code"] == "adapter_version_exists"

    def test_what_is_no_adapter_is_refused_and_leaves_nothing(self, admin: APIClient) -> None:
        adapter = factories.make_adapter()

        answer = self.upload(admin, adapter, factories.adapter_files(config=b"{"))

        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "adapter_config_invalid"
        assert not AdapterVersion.objects.exists()

    @staticmethod
    def upload(client: APIClient, adapter: Adapter, files: dict[str, Any], **headers: str) -> Any:
        form = {
            "adapter": str(adapter.pk),
            "adapter_config": files["adapter_config.json"],
            "adapter_model": files["adapter_model.safetensors"],
        }
        return client.post("/api/v1/adapter-versions/", form, format="multipart", headers=headers)


@pytest.mark.django_db(transaction=True)
def test_every_change_that_gateways_must_know_is_published(redis_client: Any) -> None:  # noqa: ARG001
    from tests.portal.api.conftest import client_of

    client = client_of(factories.make_user(superuser=True))
    version = factories.make_version()
    tenant = version.adapter.tenant
    app = factories.make_app(tenant)
    key = post(client, "keys", app=str(app.pk))["id"]
    seen = [client.get("/api/v1/snapshots/newest/").json()["version"]]
    steps: list[Callable[[], Any]] = [
        lambda: patch(client, f"keys/{key}", concurrency=1),
        lambda: client.post(f"/api/v1/keys/{key}/rotate/", {}, format="json"),
        lambda: client.post(f"/api/v1/keys/{key}/revoke/"),
        lambda: patch(client, f"tenants/{tenant.pk}", tokens_per_minute=9),
        lambda: client.post(f"/api/v1/tenants/{tenant.pk}/suspend/"),
        lambda: client.post(f"/api/v1/tenants/{tenant.pk}/reactivate/"),
        lambda: patch(client, f"tiers/{tenant.tier_id}", max_output_tokens=9),
        lambda: patch(client, f"pools/{tenant.pool_id}", max_num_seqs=9),
        lambda: post(client, "aliases", tenant=str(tenant.pk), name="voice"),
        lambda: patch(client, f"aliases/{Alias.objects.get().pk}", version=str(version.pk)),
        lambda: client.delete(f"/api/v1/aliases/{Alias.objects.get().pk}/"),
    ]

    for step in steps:
        step()
        seen.append(client.get("/api/v1/snapshots/newest/").json()["version"])

    assert seen == list(range(seen[0], seen[0] + len(steps) + 1))
    assert PublishedSnapshot.objects.filter(delivered_at__isnull=True).count() == 0


def test_money_is_decimal_text_and_keeps_its_places(admin: APIClient) -> None:
    app = factories.make_app()

    shown = post(admin, "keys", app=str(app.pk), monthly_spend_limit="0.000001")

    assert shown["monthly_spend_limit"] == "0.000001"
    assert ApiKey.objects.get().monthly_spend_limit == Decimal("0.000001")
