"""The console's money pages, opened and used by the roles that may."""

import csv
import io
import json
from datetime import timedelta

import pytest
import redis
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse_lazy

from portal.billing import closing
from portal.billing.costing import refresh_open_periods
from portal.billing.models import BillingPeriod, LedgerEntry, PriceBook
from portal.billing.periods import open_period
from portal.core import clock
from portal.core.services import sync_roles
from portal.usage.models import GatewayUsage, ParkedEvent
from portal.usage.services import ingest
from tests.portal.billing.books import (
    add_rate,
    engine_event,
    gateway_event,
    interval,
    make_book,
    make_pool,
    make_tenant,
    send,
)

ROOT = reverse_lazy("admin:index")

pytestmark = pytest.mark.django_db


def person(role: str) -> Client:
    sync_roles()
    user = User.objects.create_user(role, password="long enough secret", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return logged_in(user)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def finance() -> Client:
    return person("finance")


@pytest.fixture
def period(redis_client: "redis.Redis") -> BillingPeriod:
    now = clock.now()
    make_book(("1", "0.1", "2"))
    tenant = make_tenant(make_pool())
    send(redis_client, gateway_event(tenant, "r1", ts=now), engine_event(tenant, "r1", ts=now))
    send(redis_client, interval(tenant.pool, now.replace(day=1, hour=0), 3600, busy_ns=10**9))
    closing.drain(now)
    refresh_open_periods(now)
    return BillingPeriod.objects.get(month=f"{now:%Y-%m}")


def page(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status, path
    return response.content.decode()


def test_the_page_of_a_period_shows_tenants_bills_and_exports(finance: Client, period: BillingPeriod) -> None:
    html = page(finance, f"{ROOT}billing/billingperiod/{period.pk}/change/")

    assert "Acme" in html
    assert "worker-1" in html
    assert "3.60 USD" in html
    assert "Busy, not attributed" in html
    assert "export/focus-parquet/" in html


@pytest.mark.usefixtures("period")
def test_every_list_and_every_row_opens_for_finance_and_auditors() -> None:
    for client in (person("finance"), person("auditor")):
        for model in ("billingperiod", "ledgerentry", "costline", "pricebook"):
            html = page(client, f"{ROOT}billing/{model}/")
            assert "/change/" in html
        page(client, f"{ROOT}billing/ledgerentry/{LedgerEntry.objects.get().pk}/change/")
        page(client, f"{ROOT}billing/pricebook/{PriceBook.objects.get().pk}/change/")
        page(client, f"{ROOT}billing/ledgerentry/?price=none")


def test_a_period_is_closed_after_one_question_that_says_what_it_means(
    finance: Client, period: BillingPeriod
) -> None:
    path = f"{ROOT}billing/billingperiod/{period.pk}/close/"

    question = page(finance, path)
    answer = finance.post(path, follow=True)

    period.refresh_from_db()
    assert "There is no way back" in question
    assert "has not ended" in question
    assert period.state == "closed"
    assert period.closed_by == User.objects.get(username="finance")
    assert "is closed" in answer.content.decode()
    page(finance, path, 403)


def test_what_stands_against_a_close_is_told_and_can_be_accepted(
    finance: Client, period: BillingPeriod, redis_client: "redis.Redis"
) -> None:
    now = clock.now()
    send(redis_client, gateway_event(make_tenant(make_pool("b"), "Globex"), "r2", ts=now))
    path = f"{ROOT}billing/billingperiod/{period.pk}/close/"

    refused = finance.post(path).content.decode()
    finance.post(path, {"accept": ["requests_waiting"]})

    period.refresh_from_db()
    assert "requests_waiting" in refused
    assert period.state == "closed"
    assert "requests_waiting" in json.dumps(period.totals["findings"])


def test_only_who_may_change_periods_can_close_them(period: BillingPeriod) -> None:
    for role in ("auditor", "customer-success", "operator"):
        response = person(role).post(f"{ROOT}billing/billingperiod/{period.pk}/close/")
        assert response.status_code == 403
    period.refresh_from_db()
    assert period.state == "open"


def test_exports_download_with_their_metadata_for_those_who_see_the_period(
    finance: Client, period: BillingPeriod
) -> None:
    base = f"{ROOT}billing/billingperiod/{period.pk}/export"

    for chosen in ("focus-csv", "focus-parquet", "xlsx"):
        response = finance.get(f"{base}/{chosen}/")
        assert response.status_code == 200
        assert "provisional" in response["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(finance.get(f"{base}/focus-csv/").content.decode())))
    told = json.loads(finance.get(f"{base}/focus-csv/?metadata").content)

    assert told["x_Dataset"]["Rows"] == len(rows) == 3
    assert finance.get(f"{base}/pdf/").status_code == 404
    assert person("customer-success").get(f"{base}/focus-csv/").status_code == 403


def test_a_draft_is_published_once_and_never_edited_again(finance: Client) -> None:
    book = make_book(("1", "1", "1"), published=False)
    path = f"{ROOT}billing/pricebook/{book.pk}/publish/"

    question = page(finance, path)
    finance.post(path)

    book.refresh_from_db()
    assert "never changes again" in question
    assert book.published_at is not None
    assert finance.post(path).status_code == 403
    edited = finance.post(f"{ROOT}billing/pricebook/{book.pk}/change/", {"name": "other"})
    assert edited.status_code == 403


def test_a_published_book_is_the_start_of_the_next_draft(finance: Client) -> None:
    book = make_book(("1", "2", "3"))

    finance.post(f"{ROOT}billing/pricebook/{book.pk}/copy/")

    draft = PriceBook.objects.get(published_at__isnull=True)
    assert [rate.cached_input_price for rate in draft.rates.all()] == [2]


def test_a_draft_with_rates_is_made_in_one_form(finance: Client) -> None:
    answer = finance.post(
        f"{ROOT}billing/pricebook/add/",
        {
            "name": "Next",
            "currency": "EUR",
            "effective_from_0": "2027-01-01",
            "effective_from_1": "00:00:00",
            "rates-TOTAL_FORMS": "1",
            "rates-INITIAL_FORMS": "0",
            "rates-0-base_model": "demo-model",
            "rates-0-input_price": "1.5",
            "rates-0-cached_input_price": "0.15",
            "rates-0-output_price": "6",
        },
    )

    assert answer.status_code == 302
    assert PriceBook.objects.get().rates.get().output_price == 6


def test_parked_events_are_seen_and_tried_again(redis_client: "redis.Redis") -> None:
    tenant = make_tenant(make_pool())
    soon = clock.now() + timedelta(days=3)
    send(redis_client, b"no event", gateway_event(tenant, "r1", ts=soon))
    ingest(clock.now())
    ParkedEvent.objects.filter(code="usage_event_from_the_future").update(
        raw=bytes(ParkedEvent.objects.get(code="usage_event_from_the_future").raw).replace(
            f"{soon:%Y-%m-%d}".encode(), b"2026-11-01"
        )
    )
    root = logged_in(User.objects.create_superuser("root", password="long enough secret"))

    listed = page(root, f"{ROOT}usage/parkedevent/")
    page(root, f"{ROOT}usage/parkedevent/retry/")
    root.post(f"{ROOT}usage/parkedevent/retry/")

    assert "usage_event_invalid" in listed
    assert [event.code for event in ParkedEvent.objects.all()] == ["usage_event_invalid"]
    assert GatewayUsage.objects.get().request_id == "r1"
    page(root, f"{ROOT}usage/parkedevent/{ParkedEvent.objects.get().pk}/change/")


def test_an_empty_period_says_so(finance: Client) -> None:
    open_period("2027-01")

    html = page(finance, f"{ROOT}billing/billingperiod/2027-01/change/")

    assert "No request was charged" in html


def test_a_book_cannot_reprice_what_is_already_charged(finance: Client, period: BillingPeriod) -> None:
    assert period.state == "open"
    book = make_book(published=False, effective_from=clock.now() - timedelta(days=1), name="late")
    add_rate(book, "1", "1", "1")

    answer = finance.post(f"{ROOT}billing/pricebook/{book.pk}/publish/", follow=True)

    book.refresh_from_db()
    assert book.published_at is None
    assert "already charged by another book" in answer.content.decode()
