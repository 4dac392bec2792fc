"""Every page of the console opens for the roles that may see it, and is refused to the others."""

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.core import clock
from portal.core.roles import ROLES
from portal.home.search import search
from portal.tenants.models import Tenant
from tests import factories
from tests.portal.home import events

pytestmark = pytest.mark.django_db

PAGES = sorted(
    (model._meta.app_label, str(model._meta.model_name))
    for model in admin.site._registry
    if model._meta.app_label not in {"auth", "authtoken", "admin"}
)


def as_role(role: str | None) -> Client:
    client = Client()
    client.force_login(factories.make_user(role, superuser=role is None))
    return client


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_opens_exactly_the_lists_it_may_view(role: str) -> None:
    client = as_role(role)

    statuses = {
        page: client.get(reverse("admin:{}_{}_changelist".format(*page))).status_code for page in PAGES
    }

    expected = {page: 200 if "view" in ROLES[role].get(".".join(page), ()) else 403 for page in PAGES}
    assert statuses == expected


@pytest.mark.parametrize("role", [None, *sorted(ROLES)])
@pytest.mark.parametrize("shown", ["1h", "24h", "30d", "nonsense"])
def test_home_opens_and_links_only_where_the_role_may_go(role: str | None, shown: str) -> None:
    tenant = factories.make_tenant()
    events.gateway(tenant, clock.now() - timedelta(minutes=1))
    client = as_role(role)

    page = client.get("/", {"range": shown})

    assert page.status_code == 200
    links = set(re.findall(r'href="(/[^"#]*)"', page.content.decode()))
    links = {link for link in links if not link.startswith("/static/")}
    refused = {link for link in links if client.get(link.replace("&amp;", "&")).status_code == 403}
    assert not refused


def test_home_without_a_request_teaches_the_next_step() -> None:
    client = as_role(None)

    empty = client.get("/").content.decode()
    factories.make_key()
    ready = client.get("/").content.decode()

    assert "Create a tenant" in empty
    assert "/v1/chat/completions" in ready


def test_home_takes_as_many_queries_with_many_tenants_as_with_one() -> None:
    client = as_role(None)
    counts = []
    for _ in range(2):
        for _ in range(3):
            tenant = factories.make_tenant()
            events.gateway(tenant, clock.now())
            events.engine(tenant, clock.now())
        with CaptureQueriesContext(
            connection,
        ) as queries:
            client.get("/", {"range": "30d"})
        counts.append(len(queries))

    assert counts[0] == counts[1]
    assert counts[0] <= 45


def test_nobody_sees_the_console_without_logging_in() -> None:
    page = Client().get("/")

    assert page.status_code == 302
    assert page.headers["Location"].startswith("/login/")
    assert "Tenantry" in Client().get("/login/").content.decode()


class TestSearch:
    def test_finds_tenants_keys_and_requests(self, rf) -> None:
        tenant = factories.make_tenant(name="Acme Health")
        issued = factories.make_key(factories.make_app(tenant))
        request_id = events.gateway(tenant, clock.now()).request_id
        request = rf.get("/")
        request.user = factories.make_user(superuser=True)

        found = {
            term: [result.title for result in search(request, term)]
            for term in ("acme", issued.key.pk, issued.secret, request_id, "zzzz")
        }

        assert found["acme"] == ["Acme Health"]
        assert found[issued.key.pk] == found[issued.secret] == [str(issued.key)]
        assert found[request_id] == [request_id]
        assert found["zzzz"] == []

    def test_finds_nothing_that_the_role_may_not_open(self, rf) -> None:
        issued = factories.make_key()
        request = rf.get("/")
        request.user = factories.make_user("operator")

        assert search(request, issued.key.pk) == []
        assert Tenant.objects.exists()
