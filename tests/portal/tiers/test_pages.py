"""The tier page, and what a gateway gets from it."""

from typing import Any

import pytest
import redis
from django.test import Client

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import decode_snapshot
from portal.tiers.models import Tier
from tests import factories


def text(response: Any) -> str:
    return str(response.content.decode())


def tier_form(tier: Tier, **changes: Any) -> dict[str, Any]:
    return {
        "name": tier.name,
        "slug": tier.slug,
        "max_output_tokens": tier.max_output_tokens,
        "request_timeout_seconds": tier.request_timeout_seconds,
        "weight": tier.weight,
        "queue_depth": tier.queue_depth,
        "queue_wait_seconds": tier.queue_wait_seconds,
        "alert_percentages": "50, 80",
        "outage_policy": tier.outage_policy,
        "outage_requests_per_minute": tier.outage_requests_per_minute,
        **changes,
    }


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(factories.make_user(superuser=True))
    return client


@pytest.mark.django_db(transaction=True)
def test_a_limit_that_is_saved_is_with_the_gateways_and_the_page_says_so(redis_client: "redis.Redis") -> None:
    client = Client()
    client.force_login(factories.make_user(superuser=True))
    tenant = factories.make_tenant()

    answer = client.post(
        f"/tiers/tier/{tenant.tier_id}/change/", tier_form(tenant.tier, concurrency=3), follow=True
    )

    raw = redis_client.get(keys.SNAPSHOT)
    assert isinstance(raw, bytes)
    assert decode_snapshot(raw).tenants[str(tenant.pk)].limits.concurrency == 3
    assert "as configuration 1" in text(answer)


@pytest.mark.django_db(transaction=True)
def test_when_redis_is_away_the_change_is_saved_and_the_page_says_so(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    client = Client()
    client.force_login(factories.make_user(superuser=True))
    tier = factories.make_tier()

    answer = client.post(f"/tiers/tier/{tier.pk}/change/", tier_form(tier, concurrency=3), follow=True)

    assert answer.status_code == 200
    assert "Redis cannot be reached" in text(answer)
    assert Tier.objects.get().concurrency == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requests_per_minute", "0"),
        ("tokens_per_minute", "-1"),
        ("concurrency", "many"),
        ("monthly_spend_limit", "1e30"),
        ("monthly_spend_limit", "0.0000001"),
        ("max_output_tokens", str(2**40)),
    ],
)
def test_limits_that_make_no_sense_are_refused(console: Client, field: str, value: str) -> None:
    tier = factories.make_tier()

    answer = console.post(f"/tiers/tier/{tier.pk}/change/", tier_form(tier, **{field: value}))

    assert answer.status_code == 200
    assert "errorlist" in text(answer) or "errors" in text(answer)


@pytest.mark.django_db
def test_a_tier_with_tenants_cannot_be_deleted(console: Client) -> None:
    tenant = factories.make_tenant()

    console.post(f"/tiers/tier/{tenant.tier_id}/delete/", {"post": "yes"})

    assert Tier.objects.filter(pk=tenant.tier_id).exists()


@pytest.mark.django_db
class TestBudgetAlerts:
    @pytest.mark.parametrize(("written", "kept"), [("50, 80,100 %", [50, 80, 100]), ("", [])])
    def test_percentages_are_written_between_commas(
        self, console: Client, written: str, kept: list[int]
    ) -> None:
        tier = factories.make_tier()

        console.post(f"/tiers/tier/{tier.pk}/change/", tier_form(tier, alert_percentages=written))
        page = console.get(f"/tiers/tier/{tier.pk}/change/")

        assert Tier.objects.get().alert_percentages == kept
        assert f'value="{", ".join(map(str, kept))}"' in text(page) or not kept

    @pytest.mark.parametrize("written", ["many", "80, 50", "50; 80", "0", "99999", "\u00b2"])
    def test_what_is_no_rising_list_is_refused_with_how_to_write_it(
        self, console: Client, written: str
    ) -> None:
        tier = factories.make_tier()

        answer = console.post(f"/tiers/tier/{tier.pk}/change/", tier_form(tier, alert_percentages=written))

        assert answer.status_code == 200
        assert "such as 50, 80, 100" in text(answer)
