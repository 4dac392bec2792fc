"""Prices and months through the API."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from portal.billing.models import BillingPeriod, PriceBook, Rate
from portal.billing.months import month_of
from portal.billing.periods import open_period
from portal.core import clock
from tests import factories
from tests.portal.api.test_registry import patch, post
from tests.portal.billing import books

PRICES = {"input_price": "3", "cached_input_price": "1", "output_price": "15"}


def draft(client: APIClient) -> tuple[int, int]:
    """A book with one rate: their ids."""
    book = post(client, "price-books", name="Spring", effective_from="2026-03-01T00:00:00Z")
    rate = post(client, "rates", book=book["id"], base_model="demo-model", **PRICES)
    return book["id"], rate["id"]


def test_a_draft_is_edited_published_and_then_stays(admin: APIClient) -> None:
    book, rate = draft(admin)
    patch(admin, f"rates/{rate}", output_price="12.000001")

    published = admin.post(f"/api/v1/price-books/{book}/publish/")
    refused = [
        patch(admin, f"rates/{rate}", 409, output_price="1"),
        patch(admin, f"price-books/{book}", 409, name="Other"),
        post(admin, "rates", 409, book=book, base_model="other", **PRICES),
        admin.delete(f"/api/v1/rates/{rate}/").json(),
        admin.delete(f"/api/v1/price-books/{book}/").json(),
        admin.post(f"/api/v1/price-books/{book}/publish/").json(),
    ]

    assert published.status_code == 200
    assert published.json()["published_at"] is not None
    assert [answer["error"]["code"] for answer in refused] == ["book_published"] * 6
    assert Rate.objects.get().output_price == Decimal("12.000001")


def test_a_draft_is_deleted_after_its_rates(admin: APIClient) -> None:
    book, rate = draft(admin)

    in_use = admin.delete(f"/api/v1/price-books/{book}/")
    admin.delete(f"/api/v1/rates/{rate}/")
    admin.delete(f"/api/v1/price-books/{book}/")

    assert in_use.json()["error"]["code"] == "in_use"
    assert not PriceBook.objects.exists()


def test_a_second_rate_for_the_same_scope_is_refused(admin: APIClient) -> None:
    book, _rate = draft(admin)

    post(admin, "rates", 400, book=book, base_model="demo-model", **PRICES)
    post(admin, "rates", book=book, base_model="demo-model", tier=factories.make_tier().pk, **PRICES)

    assert Rate.objects.count() == 2


def test_an_empty_book_is_not_published(admin: APIClient) -> None:
    book = post(admin, "price-books", name="Empty", effective_from="2026-03-01T00:00:00Z")["id"]

    refused = admin.post(f"/api/v1/price-books/{book}/publish/")

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "book_empty")


def test_a_second_node_rate_does_not_begin_in_the_past(admin: APIClient) -> None:
    pool = factories.make_pool().pk
    begins = {"effective_from": "2026-01-01T00:00:00Z", "hourly_rate": "2"}

    post(admin, "node-rates", pool=pool, **begins)
    refused = post(
        admin, "node-rates", 409, pool=pool, **{**begins, "effective_from": "2026-01-02T00:00:00Z"}
    )
    wrong = post(admin, "node-rates", 400, pool=pool, currency="usd", **begins)

    assert refused["error"]["code"] == "node_rate_in_the_past"
    assert list(wrong["error"]["fields"]) == ["currency"]


def test_a_month_is_summed_closed_once_and_keeps_its_sums(admin: APIClient, redis_client: Any) -> None:
    ts = clock.now() - timedelta(hours=1)
    month = month_of(ts)
    pool = books.make_pool()
    tenant = books.make_tenant(pool)
    books.make_book(("3", "1", "15"))
    books.send(
        redis_client,
        books.gateway_event(tenant, "r1", ts=ts),
        books.engine_event(tenant, "r1", ts=ts, finished_at=ts + timedelta(seconds=1)),
        books.interval(pool, ts, 10, busy_ns=500_000_000),
    )

    # Nothing has been taken in by anybody else: closing does it, and makes what it closes.
    open_period(month)
    closed = admin.post(f"/api/v1/periods/{month}/close/", {}, format="json")
    again = admin.post(f"/api/v1/periods/{month}/close/", {}, format="json")
    rows = admin.get(f"/api/v1/periods/{month}/summary/").json()

    assert closed.status_code == 200, closed.content
    assert closed.json()["state"] == "closed"
    assert (again.status_code, again.json()["error"]["code"]) == (409, "period_closed")
    assert len(rows) == 1
    row = rows[0]
    assert (row["tenant_id"], row["requests"], row["prompt_tokens"]) == (str(tenant.pk), 1, 100)
    # 60 uncached and 40 cached input tokens, 20 output tokens.
    assert row["charge"] == "0.000520000000"
    assert row["gpu_seconds"] == "0.500000000"
    assert Decimal(row["margin"]) == Decimal(row["charge"]) - Decimal(row["cost"])
    assert admin.get(f"/api/v1/periods/{month}/").json()["totals"]["charge"] == {"USD": "0.000520000000"}


def test_what_stands_against_a_close_is_told_by_code_and_may_be_accepted(
    admin: APIClient, redis_client: Any
) -> None:
    ts = clock.now() - timedelta(hours=1)
    month = month_of(ts)
    tenant = books.make_tenant(books.make_pool())
    books.send(
        redis_client,
        books.gateway_event(tenant, "r1", ts=ts),
        books.engine_event(tenant, "r1", ts=ts, finished_at=ts),
    )
    open_period(month)

    refused = admin.post(f"/api/v1/periods/{month}/close/", {}, format="json")
    codes = list(refused.json()["error"]["fields"])
    accepted = admin.post(f"/api/v1/periods/{month}/close/", {"accept": codes}, format="json")

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "close_refused")
    assert codes == ["requests_without_price"]
    assert accepted.status_code == 200


def test_with_redis_away_nothing_is_closed(admin: APIClient, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    month = open_period(month_of(clock.now())).month

    answer = admin.post(f"/api/v1/periods/{month}/close/", {}, format="json")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert BillingPeriod.objects.get().state == "open"


@pytest.mark.parametrize("verb", ["post", "patch", "delete"])
def test_periods_are_only_read_and_closed(admin: APIClient, verb: str) -> None:
    month = open_period("2026-01").month

    answer = getattr(admin, verb)(f"/api/v1/periods/{month}/", {}, format="json")

    assert answer.status_code == 405
