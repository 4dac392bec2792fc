"""Where people click, one tenant's change is a delta: nobody waits for all the others."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from portal.snapshots import services
from portal.snapshots.models import PendingChange, PublishedSnapshot
from portal.snapshots.touched import tenant_touched
from portal.tenants.models import ApiKey
from tests import factories
from tests.factories import NOW

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_client")]


def kinds() -> list[str]:
    """Of all versions but the first."""
    deltas = PublishedSnapshot.objects.order_by("version").values_list("delta", flat=True)[1:]
    return ["whole" if delta is None else "delta" for delta in deltas]


@pytest.fixture
def key(redis_client: "redis.Redis") -> ApiKey:
    """Published as the only version."""
    made = factories.make_key().key
    PublishedSnapshot.objects.all().delete()
    redis_client.flushdb()
    services.publish(NOW)
    return made


@pytest.fixture
def api() -> APIClient:
    client = APIClient()
    client.force_authenticate(factories.make_user(superuser=True))
    return client


def test_a_key_revoked_in_the_console_is_a_delta(key: ApiKey, admin_client: Client) -> None:
    answer = admin_client.post(reverse("admin:tenants_apikey_revoke", args=[key.pk]), follow=True)

    assert kinds() == ["delta"]
    assert "Gateways get it now, as configuration 2." in answer.content.decode()
    assert not PendingChange.objects.exists()


def test_an_app_saved_in_the_console_is_a_delta(key: ApiKey, admin_client: Client) -> None:
    page = reverse("admin:tenants_app_change", args=[key.app_id])

    answer = admin_client.post(page, {"name": "Renamed", "requests_per_minute": "7"}, follow=True)

    key.app.refresh_from_db()
    assert (key.app.name, kinds()) == ("Renamed", ["delta"]), answer.content.decode()


@pytest.mark.parametrize(
    "path",
    [
        lambda key: f"tenants/{key.app.tenant_id}/",
        lambda key: f"apps/{key.app_id}/",
        lambda key: f"keys/{key.pk}/",
    ],
)
def test_a_limit_changed_through_the_api_is_a_delta(
    key: ApiKey, api: APIClient, path: Callable[[ApiKey], str]
) -> None:
    answer = api.patch(f"/api/v1/{path(key)}", {"requests_per_minute": 9}, format="json")

    assert (answer.status_code, kinds()) == (200, ["delta"])


def test_what_is_deleted_through_the_api_is_a_delta(key: ApiKey, api: APIClient) -> None:
    app = factories.make_app(key.app.tenant)
    before = len(kinds())

    answer = api.delete(f"/api/v1/apps/{app.pk}/")

    assert (answer.status_code, kinds()[before:]) == (204, ["delta"])


def test_a_tier_touches_whoever_is_in_it(key: ApiKey, api: APIClient) -> None:
    tier: Any = key.app.tenant.tier
    assert tenant_touched(tier) is None

    answer = api.patch(f"/api/v1/tiers/{tier.pk}/", {"requests_per_minute": 9}, format="json")

    assert (answer.status_code, kinds()) == (200, ["whole"])


def test_a_publisher_whose_change_another_took_makes_no_version(key: ApiKey) -> None:
    PendingChange.objects.create(tenant_id=key.app.tenant_id)
    services.publish(NOW.replace(year=NOW.year + 10))

    publication = services.publish(NOW.replace(year=NOW.year + 11))

    assert publication == services.Publication(version=2, changed=False, delivered=True)
    assert kinds() == ["delta"]
