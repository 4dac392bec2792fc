"""The tenant's tab "Limits" as people use it."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from gateway_hooks.contract import keys, pool_keys
from portal.billing.months import month_of
from portal.core import clock
from portal.core.redis import client as redis_client
from portal.core.roles import ROLES
from portal.tenants.models import LimitRaise, Tenant
from portal.tenants.raises import raise_limit
from tests import factories
from tests.portal.home import events

AWAY = "redis://127.0.0.1:1/0"


def console_for(role: str) -> Client:
    client = Client()
    client.force_login(factories.make_user(role))
    return client


def text(response: Any) -> str:
    return str(response.content.decode())


def make_tenant(**fields: Any) -> Tenant:
    tier = factories.make_tier(
        name="Gold",
        requests_per_minute=60,
        concurrency=4,
        monthly_spend_limit=Decimal(20),
    )
    return factories.make_tenant(tier=tier, **fields)


def raise_form(**changes: Any) -> dict[str, Any]:
    until = clock.now() + timedelta(days=2)
    return {
        "limit": "requests_per_minute",
        "value": "90",
        "until_0": f"{until:%Y-%m-%d}",
        "until_1": f"{until:%H:%M:%S}",
        "reason": "Launch week",
        **changes,
    }


@pytest.mark.django_db
class TestBars:
    @pytest.mark.parametrize("role", sorted(ROLES))
    def test_every_role_sees_limits_and_money_only_who_may(self, role: str) -> None:
        tenant = make_tenant()

        page = console_for(role).get(f"/tenants/tenant/{tenant.pk}/limits/")

        assert page.status_code == 200
        assert "from tier Gold" in text(page)
        sees_money = "billing.ledgerentry" in ROLES[role]
        assert ("Spend this month" in text(page)) is sees_money

    def test_what_is_used_now_stands_beside_the_limit(self) -> None:
        tenant = make_tenant()
        now = clock.now()
        later = int(now.timestamp() * 1000) + 30_000
        redis_client().zadd(
            keys.requests_window(str(tenant.pk), "tenant"), {f"r{n}": later for n in range(54)}
        )
        month = month_of(now, tenant.billing_timezone)
        redis_client().set(keys.spend(str(tenant.pk), "tenant", month), 5_250_000)

        page = text(console_for("customer-success").get(f"/tenants/tenant/{tenant.pk}/limits/now/"))

        assert "54 of 60 requests · 90 %" in page
        assert "5.25 of 20.00 USD · 26 %" in page

    def test_the_last_refusal_links_to_its_explanation(self) -> None:
        tenant = make_tenant()
        event = events.gateway(
            tenant,
            clock.now(),
            outcome="rejected",
            reason="concurrency",
            refused_scope="tenant",
            refused_limit=4,
            refused_used=4,
            refused_asked=1,
        )

        page = text(console_for("customer-success").get(f"/tenants/tenant/{tenant.pk}/limits/"))

        assert f"/usage/gatewayusage/{event.request_id}/change/" in page

    def test_a_raise_in_force_is_the_limit_and_says_what_is_usual(self) -> None:
        tenant = make_tenant()
        now = clock.now()
        raise_limit(
            tenant=tenant,
            limit="requests_per_minute",
            value=90,
            until=now + timedelta(days=1),
            reason="Launch",
            now=now,
            user=None,
        )

        page = text(console_for("auditor").get(f"/tenants/tenant/{tenant.pk}/limits/"))

        assert "of 90 requests" in page
        assert "usually 60 requests" in page
        assert "End now" not in page

    def test_apps_and_keys_have_bars_of_their_own_limits(self) -> None:
        tenant = make_tenant()
        app = factories.make_app(tenant, name="Chat", tokens_per_minute=500)
        factories.make_key(app, now=clock.now(), name="staging", requests_per_minute=7)

        page = text(console_for("customer-success").get(f"/tenants/tenant/{tenant.pk}/limits/"))

        assert "of 500 tokens" in page
        assert "of 7 requests" in page

    def test_the_queue_shows_its_place_in_its_pool(self) -> None:
        tenant = make_tenant()
        pool, record = str(tenant.pool_id), {"g": "gw", "t": str(tenant.pk), "n": 700, "w": 1, "b": 3}
        redis_client().hset(pool_keys.asks(pool), "a", json.dumps(record))

        page = text(console_for("operator").get(f"/tenants/tenant/{tenant.pk}/limits/now/"))

        assert "1 of 32 allowed" in page
        assert "700 tokens" in page

    def test_without_redis_the_limits_are_shown_and_the_page_says_what_is_not_known(
        self, settings: Any
    ) -> None:
        settings.REDIS_URL = AWAY
        tenant = make_tenant()

        page = text(console_for("customer-success").get(f"/tenants/tenant/{tenant.pk}/limits/"))

        assert "Redis cannot be reached" in page
        assert "at most 60 requests" in page

    def test_it_costs_the_same_queries_for_any_number_of_apps_keys_and_raises(
        self, django_assert_max_num_queries: Any
    ) -> None:
        tenant = make_tenant()
        now = clock.now()
        for number in range(15):
            app = factories.make_app(tenant, tokens_per_minute=500)
            factories.make_key(app, now=now, requests_per_minute=7)
            LimitRaise.objects.create(
                tenant=tenant,
                limit="concurrency",
                value=number + 1,
                starts_at=now - timedelta(days=2),
                until=now - timedelta(days=1),
                reason="x",
                created_at=now,
            )
        console = console_for("customer-success")
        console.get(f"/tenants/tenant/{tenant.pk}/limits/")
        cache.clear()

        with django_assert_max_num_queries(14):
            page = console.get(f"/tenants/tenant/{tenant.pk}/limits/")

        assert "There are more" in text(page)

    def test_a_raise_that_the_usual_limit_has_overtaken_is_not_shown_as_the_limit(self) -> None:
        tenant = make_tenant()
        now = clock.now()
        raise_limit(
            tenant=tenant,
            limit="requests_per_minute",
            value=90,
            until=now + timedelta(days=1),
            reason="x",
            now=now,
            user=None,
        )
        Tenant.objects.filter(pk=tenant.pk).update(requests_per_minute=500)

        page = text(console_for("customer-success").get(f"/tenants/tenant/{tenant.pk}/limits/now/"))

        assert "500 requests" in page
        assert "90 requests" not in page

    def test_an_unknown_tenant_is_not_found(self) -> None:
        url = "/tenants/tenant/00000000-0000-0000-0000-000000000000/limits/"

        assert console_for("operator").get(url).status_code == 404


@pytest.mark.django_db
class TestRaises:
    def test_a_raise_is_made_with_who_and_why_and_ended_again(self) -> None:
        tenant = make_tenant()
        console = console_for("customer-success")
        url = f"/tenants/tenant/{tenant.pk}/limits"

        made = console.post(f"{url}/raise/", raise_form(), follow=True)
        raised = LimitRaise.objects.get()
        question = console.get(f"{url}/raises/{raised.pk}/end/")
        still = LimitRaise.objects.get().ended_early_at
        console.post(f"{url}/raises/{raised.pk}/end/")

        assert "Requests per minute: 90 requests until" in text(made)
        assert raised.created_by is not None
        assert "usual limit again at once" in text(question)
        assert still is None
        assert LimitRaise.objects.get().ended_early_at is not None

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"value": "50"}, "give a higher value"),
            ({"value": "90.5"}, "a whole number"),
            ({"limit": "tokens_per_minute"}, "nothing to raise"),
            ({"until_0": "2020-01-01"}, "ends after it began"),
            ({"reason": ""}, "This field is required"),
        ],
    )
    def test_what_makes_no_sense_is_said_at_its_field(self, changes: dict[str, str], words: str) -> None:
        tenant = make_tenant()

        answer = console_for("customer-success").post(
            f"/tenants/tenant/{tenant.pk}/limits/raise/", raise_form(**changes)
        )

        assert answer.status_code == 422
        assert words in text(answer)
        assert not LimitRaise.objects.exists()

    @pytest.mark.parametrize("role", sorted(set(ROLES) - {"customer-success"}))
    def test_others_can_neither_raise_nor_end(self, role: str) -> None:
        tenant = make_tenant()
        now = clock.now()
        raised = raise_limit(
            tenant=tenant,
            limit="concurrency",
            value=9,
            until=now + timedelta(days=1),
            reason="Launch",
            now=now,
            user=None,
        )
        console = console_for(role)
        url = f"/tenants/tenant/{tenant.pk}/limits"

        answers = [
            console.post(f"{url}/raise/", raise_form()),
            console.post(f"{url}/raises/{raised.pk}/end/"),
        ]

        assert {answer.status_code for answer in answers} == {403}
        assert LimitRaise.objects.get().ended_early_at is None
