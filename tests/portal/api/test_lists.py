"""Lists: pages, filters, and as many queries for ten rows as for one."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from portal.adapters.models import Alias
from portal.fleet.models import GatewayProcess, NodeRate, Worker
from portal.snapshots.models import PublishedSnapshot
from portal.usage.models import GatewayUsage
from tests import factories
from tests.factories import NOW

ACME, ROSA = UUID(int=1), UUID(int=2)


def make_request(number: int, **fields: Any) -> GatewayUsage:
    values = {
        "event_id": f"event-{number}",
        "request_id": f"request-{number}",
        "ts": NOW + timedelta(seconds=number // 2),  # pairs share a moment
        "payload": {},
        "ingested_at": NOW,
        "tenant_id": ACME,
        "outcome": "completed",
        "http_status": 200,
        "stream": False,
        "duration_us": 1,
    }
    return GatewayUsage.objects.create(**{**values, **fields})


def names(client: APIClient, query: str) -> list[str]:
    rows = client.get(f"/api/v1/requests/?{query}").json()["results"]
    return [row["request_id"].removeprefix("request-") for row in rows]


def test_pages_have_every_row_once_and_in_order(admin: APIClient) -> None:
    made = [factories.make_tier(name=f"Tier {letter}", slug=letter) for letter in "cabed"]

    pages = [admin.get(f"/api/v1/tiers/?limit=2&offset={offset}").json() for offset in (0, 2, 4)]

    assert [page["count"] for page in pages] == [5] * 3
    assert [len(page["results"]) for page in pages] == [2, 2, 1]
    assert [row["slug"] for page in pages for row in page["results"]] == list("abcde")
    assert pages[2]["next"] is None
    assert {row["id"] for page in pages for row in page["results"]} == {tier.pk for tier in made}


def test_no_page_is_longer_than_the_most(admin: APIClient) -> None:
    factories.make_tier()

    assert len(admin.get("/api/v1/tiers/?limit=1000000&offset=0").json()["results"]) == 1
    assert admin.get("/api/v1/tiers/?limit=1&offset=99999999999999999999").json()["results"] == []


def test_requests_come_newest_first_and_each_once_though_some_share_a_moment(admin: APIClient) -> None:
    for number in range(7):
        make_request(number)
    found: list[str] = []
    url: str | None = "/api/v1/requests/?limit=3"

    while url:
        page = admin.get(url).json()
        found += [row["request_id"] for row in page["results"]]
        url = page["next"]

    assert sorted(found) == [f"request-{number}" for number in range(7)]
    assert found[0] == "request-6"


def test_requests_are_found_by_tenant_outcome_time_and_id(admin: APIClient) -> None:
    make_request(0)
    make_request(2, tenant_id=ROSA, worker_id="w1")
    make_request(4, outcome="rejected", reason="rate_limited", key_id="k1")
    moment = (NOW + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")

    assert names(admin, f"tenant={ROSA}") == ["2"]
    assert names(admin, "outcome=rejected") == ["4"]
    assert names(admin, "reason=rate_limited&key=k1") == ["4"]
    assert names(admin, "worker=w1") == ["2"]
    assert names(admin, "request_id=request-0") == ["0"]
    assert names(admin, f"since={moment}") == ["4", "2"]
    assert names(admin, f"until={moment}") == ["0"]
    assert admin.get("/api/v1/requests/request-2/").json()["tenant_id"] == str(ROSA)


def test_other_lists_are_filtered_by_exact_values(admin: APIClient) -> None:
    app, other = factories.make_app(), factories.make_app()
    key = factories.make_key(app).key
    factories.make_key(other)

    def ids(query: str) -> list[str]:
        return [row["id"] for row in admin.get(f"/api/v1/{query}").json()["results"]]

    assert ids(f"keys/?app={app.pk}") == [key.pk]
    assert ids(f"keys/?tenant={app.tenant_id}") == [key.pk]
    assert ids(f"apps/?tenant={other.tenant_id}") == [str(other.pk)]
    assert ids(f"tenants/?slug={app.tenant.slug}&status=active") == [str(app.tenant_id)]
    assert ids("tenants/?tier=first") == ids("keys/?tenant=acme") == ids("tenants/?slug=a%00b") == []


def make_everything(number: int) -> None:
    version = factories.make_version()
    tenant = version.adapter.tenant
    factories.make_key(factories.make_app(tenant))
    Alias.objects.create(tenant=tenant, name=f"alias-{number}", version=version)
    NodeRate.objects.create(pool=tenant.pool, hourly_rate=1, effective_from=NOW)
    seen = {"url": "http://x", "started_at": NOW, "seen_at": NOW}
    Worker.objects.create(
        id=f"w{number}", pool=tenant.pool, boot_id="b", state="ready", device="cpu", max_num_seqs=1, **seen
    )
    GatewayProcess.objects.create(
        id=f"g{number}", host="h", pid=1, snapshot_version=1, snapshot_source="redis", **seen
    )
    PublishedSnapshot.objects.create(version=number, published_at=NOW, checked_at=NOW, digest="d")
    factories.make_prices(effective_from=NOW + timedelta(days=number))
    make_request(number)


LISTS = (
    *("tenants", "tiers", "apps", "keys", "adapters", "adapter-versions", "aliases", "pools", "node-rates"),
    *("workers", "gateways", "snapshots", "price-books", "rates"),
)


@pytest.mark.parametrize("name", [*LISTS, "requests"])
def test_a_list_takes_as_many_queries_for_ten_rows_as_for_one(
    admin: APIClient, name: str, django_assert_num_queries: Any
) -> None:
    for number in range(1, 11):
        make_everything(number)
    # The token with its user, and the rows; with a count except where lists grow without end.
    queries = 2 if name == "requests" else 3

    with django_assert_num_queries(queries):
        answer = admin.get(f"/api/v1/{name}/")

    assert len(answer.json()["results"]) == 10


def test_without_any_snapshot_there_is_no_newest(admin: APIClient) -> None:
    assert admin.get("/api/v1/snapshots/newest/").status_code == 404


def test_the_newest_snapshot_is_the_one_with_the_highest_version(admin: APIClient) -> None:
    for version in (2, 10, 9):
        PublishedSnapshot.objects.create(version=version, published_at=NOW, checked_at=NOW, digest="d")

    newest = admin.get("/api/v1/snapshots/newest/").json()

    assert newest == {
        "version": 10,
        "published_at": "2026-11-21T12:00:00Z",
        "digest": "d",
        "delivered_at": None,
    }
