"""The request list and one request's explanation."""

from datetime import timedelta

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.core import clock
from portal.core.roles import ROLES
from portal.usage.reasons import REASONS
from portal.usage.selectors import tenant_usage
from tests import factories
from tests.factories import NOW
from tests.portal.home import events

pytestmark = pytest.mark.django_db
LIST = reverse("admin:usage_gatewayusage_changelist")


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(factories.make_user(superuser=True))
    return client


class TestList:
    def test_names_tenants_and_apps(self, client: Client) -> None:
        app = factories.make_app(factories.make_tenant(name="Acme Health"), name="Nurse line")
        events.gateway(app.tenant, clock.now(), app_id=app.pk, alias="assistant")

        page = client.get(LIST).content.decode()

        assert "Acme Health" in page
        assert "Nurse line" in page

    def test_takes_as_many_queries_for_many_rows_as_for_few_and_never_counts(self, client: Client) -> None:
        counts = []
        for _ in range(2):
            for _ in range(10):
                events.gateway(factories.make_tenant(), clock.now())
            with CaptureQueriesContext(connection) as queries:
                client.get(LIST)
            counts.append(len(queries))

        assert counts[0] == counts[1]
        assert not [query for query in queries if "COUNT(*)" in query["sql"]]

    @pytest.mark.parametrize(
        ("query", "shown"),
        [
            ({"outcome": "rejected"}, {"b"}),
            ({"outcome": "failed"}, {"c"}),
            ({"reason": "concurrency"}, {"b"}),
            ({"alias": "Other"}, {"c"}),
            ({"tenant": "acme"}, {"a", "b"}),
            ({"tenant": "nobody"}, set()),
            ({"app": "nurse"}, {"a"}),
            ({"period": "1h"}, {"a", "b"}),
            ({"period": "24h"}, {"a", "b", "c"}),
            ({"q": "req-a"}, {"a"}),
            ({"q": "0123456789ab"}, {"b"}),
            ({"q": "sk-tn-0123456789ab-secret"}, {"b"}),
        ],
    )
    def test_is_filtered(self, client: Client, query: dict[str, str], shown: set[str]) -> None:
        acme, globex = factories.make_tenant(name="Acme"), factories.make_tenant(name="Globex")
        app = factories.make_app(acme, name="Nurse line")
        now = clock.now()
        events.gateway(acme, now, request_id="req-a", alias="main", app_id=app.pk)
        refusal = {"outcome": "rejected", "reason": "concurrency", "key_id": "0123456789ab"}
        events.gateway(acme, now, request_id="req-b", alias="main", **refusal)
        events.gateway(
            globex, now - timedelta(hours=3), request_id="req-c", alias="other", outcome="upstream_error"
        )

        rows = client.get(LIST, query).context["cl"].result_list

        assert {row.request_id[-1] for row in rows} == shown


class TestExplain:
    def test_leads_from_the_key_to_the_ledger(self, client: Client) -> None:
        issued = factories.make_key(factories.make_app(factories.make_tenant(name="Acme"), name="Chat"))
        tenant = issued.key.app.tenant
        seen = events.gateway(tenant, NOW, key_id=issued.key.pk, alias="assistant", worker_id="worker-1")
        events.engine(tenant, NOW, request_id=seen.request_id)
        events.entry(tenant, NOW, "0.000123", request_id=seen.request_id)

        page = client.get(reverse("admin:usage_gatewayusage_change", args=[seen.request_id]))

        titles = [step.title for step in page.context["explanation"].steps]
        assert titles == [
            "Identified as Acme",
            "Alias assistant led to the base model",
            "Admitted within all limits",
            "Worked on by worker-1",
            "Answered",
            "Charged 0.000123 USD",
        ]

    @pytest.mark.parametrize("code", [*sorted(REASONS), "something_new", ""])
    def test_says_of_every_refusal_what_it_was(self, client: Client, code: str) -> None:
        refused = events.gateway(
            factories.make_tenant(),
            NOW,
            outcome="rejected",
            reason=code,
            http_status=429,
            ttft_us=None,
            payload={"forwarded": False},
        )

        page = client.get(reverse("admin:usage_gatewayusage_change", args=[refused.pk]))

        assert page.status_code == 200
        explanation = page.context["explanation"]
        assert explanation.state == "bad"
        stopped = [step for step in explanation.steps if step.state == "bad"]
        assert len(stopped) == 1
        assert explanation.verdict.startswith("Refused with 429: ")

    def test_shows_no_money_without_the_permission(self) -> None:
        client = Client()
        client.force_login(factories.make_user("operator"))
        tenant = factories.make_tenant()
        seen = events.gateway(tenant, NOW)
        events.entry(tenant, NOW, "0.5", request_id=seen.request_id)

        page = client.get(reverse("admin:usage_gatewayusage_change", args=[seen.pk]))

        assert "Charged" not in page.content.decode()

    @pytest.mark.parametrize("role", sorted(ROLES))
    def test_shows_each_role_only_what_it_may_see_of_the_raw_events(self, role: str) -> None:
        client = Client()
        client.force_login(factories.make_user(role))
        tenant = factories.make_tenant()
        told = {"forwarded": True, "gateway_id": "g1", "reserved_micro": 918273, "rate_id": "rate-5544"}
        seen = events.gateway(tenant, NOW, payload=told)
        events.engine(tenant, NOW, request_id=seen.request_id, payload={"steps": 4321})

        page = client.get(reverse("admin:usage_gatewayusage_change", args=[seen.pk])).content.decode()

        grants = ROLES[role]
        assert ("gateway_id" in page) is ("usage.gatewayusage" in grants)
        for money in ("918273", "rate-5544", "0.918273"):
            assert (money in page) is ("billing.ledgerentry" in grants)
        assert ("4321" in page) is ("usage.engineusage" in grants)

    def test_a_request_that_is_not_there_leads_back(self, client: Client) -> None:
        page = client.get(reverse("admin:usage_gatewayusage_change", args=["nothing"]))

        assert page.status_code == 302


def test_a_tenants_usage_is_its_own_and_of_the_span_alone() -> None:
    tenant, other = factories.make_tenant(), factories.make_tenant()
    start = NOW - timedelta(days=5)
    for whose, moment in ((tenant, NOW), (tenant, start), (tenant, start - timedelta(1)), (other, start)):
        events.gateway(whose, moment)
        events.engine(whose, moment)
        events.entry(whose, moment, "0.25")

    usage = tenant_usage(tenant, start, NOW)

    assert (usage.requests, usage.tokens, usage.gpu_ns) == (1, 15, 3_000_000)
    assert [(money.currency, str(money.charge)) for money in usage.money] == [("USD", "0.250000000000")]


@pytest.mark.parametrize(("role", "money"), [("finance", True), ("operator", False)])
def test_the_tenant_pages_usage_shows_what_the_role_may_see(
    role: str,
    *,
    money: bool,
    rf: RequestFactory,
) -> None:
    tenant = factories.make_tenant()
    now = clock.now()
    events.gateway(tenant, now)
    events.engine(tenant, now)
    events.entry(tenant, now, "12.5")
    request = rf.get("/")
    request.user = factories.make_user(role)

    text = render_to_string("admin/tenants/tenant/usage.html", {"original": tenant}, request)

    assert "15 tokens" in text
    assert ("12.50 USD" in text) is money
