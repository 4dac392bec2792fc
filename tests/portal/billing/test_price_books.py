"""What publishing a price book refuses."""

from datetime import timedelta
from typing import Any

import pytest
import redis

from portal.billing.errors import PriceBookError
from portal.billing.price_books import publish_book
from portal.usage.services import ingest
from tests.portal.billing.books import NOW, engine_event, make_book, make_pool, make_tenant, send

pytestmark = pytest.mark.django_db


def draft(**fields: Any) -> Any:
    return make_book(("2", "2", "2"), name="December", published=False, **fields)


@pytest.mark.usefixtures("redis_client")
def test_all_published_books_are_in_one_currency() -> None:
    make_book(("1", "1", "1"))

    with pytest.raises(PriceBookError, match="December is in EUR, but November is in USD") as refusal:
        publish_book(draft(effective_from=NOW, currency="EUR"), now=NOW)

    assert refusal.value.code == "book_currency"


@pytest.mark.usefixtures("redis_client")
def test_the_first_book_may_be_in_any_currency() -> None:
    assert publish_book(draft(effective_from=NOW, currency="EUR"), now=NOW).published_at == NOW


def test_no_book_is_put_under_requests_that_wait_to_be_charged(redis_client: "redis.Redis") -> None:
    make_book(("1", "1", "1"))
    tenant = make_tenant(make_pool())
    send(redis_client, engine_event(tenant, "r1"))
    ingest(NOW)

    with pytest.raises(PriceBookError, match="wait to be charged") as refusal:
        publish_book(draft(effective_from=NOW - timedelta(minutes=1)), now=NOW)

    assert refusal.value.code == "book_retroactive"
    later = make_book(
        ("3", "3", "3"), name="Later", published=False, effective_from=NOW + timedelta(minutes=1)
    )
    assert publish_book(later, now=NOW).published_at == NOW


def test_requests_that_wait_without_any_price_may_get_their_first_one(redis_client: "redis.Redis") -> None:
    tenant = make_tenant(make_pool())
    send(redis_client, engine_event(tenant, "r1"))
    ingest(NOW)

    assert publish_book(draft(effective_from=NOW - timedelta(days=1)), now=NOW).published_at == NOW
