"""How a tenant is served, on its page; and the exits of one request, explained."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from portal.core import clock
from portal.core.roles import ROLES
from portal.tenants import issuers
from portal.usage.explain_exits import refusal_words
from portal.usage.health import tenant_health
from portal.usage.models import GatewayUsage
from tests import factories
from tests.portal.home import events


def console_for(role: str) -> Client:
    client = Client()
    client.force_login(factories.make_user(role))
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


@pytest.mark.django_db
class TestHealth:
    def test_rejections_versions_masked_values_and_waits_are_counted(self) -> None:
        tenant = factories.make_tenant()
        now = clock.now()
        for wait in (0, 1_000, 2_000, 100_000):
            events.gateway(tenant, now, served="pinned", queue_us=wait, pii_counts={"EMAIL_ADDRESS": 2})
        events.gateway(tenant, now, served="fallback", degraded=True)
        events.gateway(tenant, now, outcome="rejected", reason="concurrency", served="")
        events.gateway(tenant, now - timedelta(days=3), pii_counts={"EMAIL_ADDRESS": 5, "US_SSN": 1})
        events.gateway(tenant, now, served="shadow", shadow_of="req-x", pii_counts={"IBAN_CODE": 9})
        events.gateway(factories.make_tenant(), now, pii_counts={"IBAN_CODE": 9})

        found = tenant_health(tenant.pk, now + timedelta(seconds=1))

        assert (found.requests, found.refused, found.degraded) == (6, 1, 1)
        assert [(row.name, row.count, row.share) for row in found.served] == [
            ("pinned", 4, 80),
            ("fallback", 1, 20),
        ]
        assert [(one.entity, one.day, one.week) for one in found.masked] == [
            ("EMAIL_ADDRESS", 8, 13),
            ("US_SSN", 0, 1),
        ]
        assert (found.waited, found.wait_p50_us) == (3, 1_500)

    def test_a_tenant_without_requests_has_nothing(self) -> None:
        found = tenant_health(factories.make_tenant().pk, clock.now())

        assert (found.requests, found.rejections, found.masked, found.wait_p95_us) == (0, [], [], None)

    @pytest.mark.parametrize("role", sorted(ROLES))
    def test_the_tenants_page_shows_it_and_its_budget_to_who_may_see_money(self, role: str) -> None:
        tenant = factories.make_tenant(monthly_spend_limit=Decimal(100), daily_spend_limit=Decimal(9))
        now = clock.now()
        events.entry(tenant, now, "5")
        events.gateway(tenant, now, outcome="rejected", reason="kv_budget")

        page = console_for(role).get(f"/tenants/tenant/{tenant.pk}/change/")

        assert page.status_code == 200
        assert "kv_budget" in text(page)
        sees_money = "billing.ledgerentry" in ROLES[role]
        assert ("needs three whole days" in text(page)) is sees_money
        assert ("· 5 %" in text(page)) is sees_money

    def test_the_page_costs_the_same_queries_for_any_number_of_requests(
        self, django_assert_max_num_queries: Any
    ) -> None:
        tenant = factories.make_tenant()
        now = clock.now()
        for number in range(60):
            events.gateway(
                tenant, now, outcome="rejected", reason=f"reason-{number}", pii_counts={f"E{number}": 1}
            )
            events.entry(tenant, now - timedelta(days=number % 20), "1")
        console = console_for("customer-success")
        console.get(f"/tenants/tenant/{tenant.pk}/change/")
        cache.clear()

        with django_assert_max_num_queries(42):
            console.get(f"/tenants/tenant/{tenant.pk}/change/")


def refused(**fields: Any) -> GatewayUsage:
    return GatewayUsage(outcome="rejected", **fields)


class TestRefusalWords:
    def test_they_name_scope_limit_use_ask_and_the_way_through(self) -> None:
        request = refused(
            reason="rate_limit_tokens",
            refused_scope="app.1",
            refused_limit=1000,
            refused_used=900,
            refused_asked=300,
        )

        assert refusal_words(request, "USD") == (
            "The limit of the app is 1,000 tokens in any 60 s, 900 tokens were used, and this request asked "
            "for 300 tokens. A limit of 1,200 tokens would have let it through, or a request of at most "
            "100 tokens."
        )

    def test_money_is_in_currency_and_memory_in_mib(self) -> None:
        money = refused(
            reason="budget_exhausted",
            refused_scope="tenant",
            refused_limit=5_000_000,
            refused_used=4_999_000,
            refused_asked=2_000,
        )
        memory = refused(reason="kv_budget", refused_scope="key.abc", refused_limit=64 << 20)
        token = refused(reason="kv_budget", refused_scope="key.jwt-1-2", refused_limit=64 << 20)

        assert "5.000000 USD" in refusal_words(money, "USD")
        assert "of the token issuer Login is" in refusal_words(token, "USD", "Login")
        assert "A limit of 5.001000 USD" in refusal_words(money, "USD")
        assert refusal_words(memory, "USD") == "The limit of the API key abc is 64.0 MiB at once."

    def test_without_a_limit_there_are_none(self) -> None:
        assert refusal_words(refused(reason="queue_full"), "USD") == ""


@pytest.mark.django_db
class TestExplained:
    def test_an_answer_says_who_asked_what_was_masked_how_long_it_waited_and_what_served(self) -> None:
        app = factories.make_app()
        issuer = issuers.create_issuer(
            tenant=app.tenant,
            app=app,
            name="Login",
            issuer="https://login.example.com/",
            audience="tenantry",
            algorithms=["HS256"],
            secret="x" * 32,
            now=clock.now(),
            user=None,
        )
        request = events.gateway(
            app.tenant,
            clock.now(),
            issuer_id=issuer.pk,
            end_user="0123456789abcdef",
            alias="assistant",
            served="fallback",
            degraded=True,
            attempts=2,
            queue_us=1_500_000,
            max_output_tokens=64,
            clamped=True,
            pii_counts={"EMAIL_ADDRESS": 2},
            configuration_version=4,
        )

        page = text(console_for("customer-success").get(f"/usage/gatewayusage/{request.pk}/change/"))

        assert "By a token that Login signed" in page
        assert "version 4" in page
        assert "2 EMAIL_ADDRESS" in page
        assert "in 2 attempts, marked as degraded" in page
        assert "It waited 1.50 s for a seat" in page
        assert "64 tokens (shortened" in page
        assert page.count("0123456789abcdef") == 0

    def test_a_refused_one_says_which_limit_and_money_only_to_who_may_see_it(self) -> None:
        tenant = factories.make_tenant()
        request = events.gateway(
            tenant,
            clock.now(),
            outcome="rejected",
            http_status=429,
            reason="budget_exhausted",
            alias="assistant",
            refused_scope="tenant",
            refused_limit=5_000_000,
            refused_used=4_999_000,
            refused_asked=2_000,
        )
        url = f"/usage/gatewayusage/{request.pk}/change/"

        assert "A limit of 5.001000 USD would have let it through" in text(console_for("finance").get(url))
        assert "5.001000" not in text(console_for("ml-engineer").get(url))
