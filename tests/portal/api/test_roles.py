"""Who may do what: exactly what the table of roles says, reading included."""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from portal.core.roles import ROLES
from portal.tenants.models import ApiKey, App, Tenant
from tests import factories
from tests.factories import NOW
from tests.portal.api.conftest import Caller, client_of

MODELS = {
    "tenants": "tenants.tenant",
    "tiers": "tiers.tier",
    "apps": "tenants.app",
    "keys": "tenants.apikey",
    "raises": "tenants.limitraise",
    "token-issuers": "tenants.tokenissuer",
    "configurations": "tenants.tenantconfiguration",
    "budget-alerts": "billing.budgetalert",
    "adapters": "adapters.adapter",
    "adapter-versions": "adapters.adapterversion",
    "aliases": "adapters.alias",
    "pools": "fleet.pool",
    "node-rates": "fleet.noderate",
    "workers": "fleet.worker",
    "gateways": "fleet.gatewayprocess",
    "snapshots": "snapshots.publishedsnapshot",
    "price-books": "billing.pricebook",
    "rates": "billing.rate",
    "requests": "usage.gatewayusage",
    "periods": "billing.billingperiod",
}
CHANGEABLE = (
    *(
        "tenants",
        "tiers",
        "apps",
        "keys",
        "adapters",
        "aliases",
        "pools",
        "price-books",
        "rates",
        "configurations",
        "token-issuers",
    ),
)
UNKNOWN_ID = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reads_what_it_may_view_and_nothing_else(role: str, as_role: Caller) -> None:
    client = as_role(role)

    seen = {name for name in MODELS if client.get(f"/api/v1/{name}/").status_code == 200}

    assert seen == {name for name, model in MODELS.items() if "view" in ROLES[role].get(model, ())}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "verb"), [("post", "add"), ("patch", "change"), ("delete", "delete")])
def test_a_role_changes_what_it_may_change_and_nothing_else(
    role: str, method: str, verb: str, as_role: Caller
) -> None:
    client = as_role(role)
    paths = {name: f"/api/v1/{name}/" + ("" if verb == "add" else "0/") for name in CHANGEABLE}

    answers = {name: getattr(client, method)(path, {}, format="json") for name, path in paths.items()}

    # Past the permission an empty body is refused, an unknown id not found, an undeletable thing unallowed.
    open_ = {name for name, answer in answers.items() if answer.status_code in {201, 400, 404}}
    allowed = {name for name in CHANGEABLE if verb in ROLES[role].get(MODELS[name], ())}
    if verb == "delete":
        allowed -= {"tenants", "keys"}
    assert open_ == allowed
    assert all(a.status_code in {403, 405} for name, a in answers.items() if name not in allowed)


@pytest.mark.django_db
@pytest.mark.parametrize("name", MODELS)
def test_nobody_reads_anything_without_a_token(name: str) -> None:
    answer = APIClient().get(f"/api/v1/{name}/")

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Token"
    assert answer.json()["error"]["code"] == "not_authenticated"


@pytest.mark.django_db
def test_somebody_without_a_role_reads_and_changes_nothing() -> None:
    client = client_of(User.objects.create_user("nobody", is_staff=True))

    for name in MODELS:
        assert client.get(f"/api/v1/{name}/").status_code == 403
    assert client.post("/api/v1/apps/", {}, format="json").status_code == 403


@pytest.mark.django_db
def test_a_token_of_somebody_who_left_opens_nothing() -> None:
    user = factories.make_user(superuser=True)
    client = client_of(user)
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert client.get("/api/v1/tenants/").status_code == 401


def test_actions_take_the_permission_to_change_and_not_only_to_view(as_role: Caller) -> None:
    key = factories.make_key().key
    tenant = key.app.tenant
    auditor, success = as_role("auditor"), as_role("customer-success")
    paths = [f"/api/v1/keys/{key.pk}/rotate/", f"/api/v1/keys/{key.pk}/revoke/"]
    paths += [f"/api/v1/tenants/{tenant.pk}/{verb}/" for verb in ("suspend", "reactivate")]

    refused = [auditor.post(path, {}, format="json").status_code for path in paths]
    untouched = ApiKey.objects.get(pk=key.pk).revoked_at is None and Tenant.objects.get().status == "active"
    allowed = [success.post(path, {}, format="json").status_code for path in paths]

    assert refused == [403] * 4
    assert untouched
    assert allowed == [201, 200, 200, 200]


def test_only_finance_publishes_prices_and_closes_months(as_role: Caller) -> None:
    book = factories.make_prices(effective_from=NOW).book

    for role in ROLES:
        if role != "finance":
            client = as_role(role)
            assert client.post(f"/api/v1/price-books/{book.pk}/publish/").status_code == 403
            assert client.post("/api/v1/periods/2026-11/close/", {}, format="json").status_code == 403


def test_somebody_signed_in_to_the_console_reads_but_posts_only_with_its_csrf_token(db: None) -> None:  # noqa: ARG001
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(factories.make_user(superuser=True))
    tenant = factories.make_tenant()

    read = client.get("/api/v1/tenants/")
    posted = client.post("/api/v1/apps/", {"tenant": tenant.pk, "name": "Forged"}, format="json")

    assert read.status_code == 200
    assert posted.status_code == 403
    assert not App.objects.exists()
