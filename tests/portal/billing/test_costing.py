"""Cost lines from what workers reported, with rates that change and months that end."""

from datetime import timedelta
from decimal import Decimal

import pytest
import redis

from portal.billing.costing import gaps, refresh_open_periods
from portal.billing.models import BillingPeriod
from portal.billing.selectors import worker_bills
from portal.fleet.models import NodeRate
from portal.usage.services import ingest
from tests.portal.billing.books import NOW, START, interval, make_pool, send

pytestmark = pytest.mark.django_db


def bills() -> dict[tuple[str, str], Decimal]:
    refresh_open_periods(NOW)
    found = worker_bills(BillingPeriod.objects.get(month="2026-11"))
    return {(bill.worker_id, bill.currency): bill.total for bill in found}


def test_a_rate_change_splits_the_stretch_that_it_falls_into(redis_client: "redis.Redis") -> None:
    pool = make_pool(hourly="1.00")
    change = START + timedelta(days=1)
    NodeRate.objects.create(pool=pool, hourly_rate=Decimal("3.00"), effective_from=change)
    send(
        redis_client,
        interval(pool, START, 3600),
        interval(pool, change - timedelta(hours=1), 7200, busy_ns=10**9),
        interval(pool, change + timedelta(hours=1), 3600),
    )
    ingest(NOW)

    assert bills() == {("worker-1", "USD"): Decimal("8.00")}


def test_a_stretch_over_the_turn_of_the_month_is_parted_between_both(redis_client: "redis.Redis") -> None:
    pool = make_pool(hourly="1.00")
    send(redis_client, interval(pool, START - timedelta(hours=3), 4 * 3600))
    ingest(NOW)

    assert bills() == {("worker-1", "USD"): Decimal("1.00")}


def test_each_worker_and_currency_has_its_own_bill(redis_client: "redis.Redis") -> None:
    dollars, euros = make_pool(hourly="1.00"), make_pool("other", hourly=None)
    NodeRate.objects.create(
        pool=euros, hourly_rate=Decimal(2), currency="EUR", effective_from=START - timedelta(days=1)
    )
    send(redis_client, interval(dollars, START, 3600), interval(euros, START, 3600, worker_id="w2"))
    ingest(NOW)

    assert bills() == {("worker-1", "USD"): Decimal("1.00"), ("w2", "EUR"): Decimal("2.00")}


def test_a_refresh_replaces_the_lines(redis_client: "redis.Redis") -> None:
    pool = make_pool(hourly="1.00")
    send(redis_client, interval(pool, START, 3600))
    ingest(NOW)
    first = bills()
    send(redis_client, interval(pool, START + timedelta(hours=1), 3600))
    ingest(NOW)

    assert (first, bills()) == (
        {("worker-1", "USD"): Decimal("1.00")},
        {("worker-1", "USD"): Decimal("2.00")},
    )


def test_holes_and_overlaps_of_one_boot_are_found_and_a_new_boot_is_none(redis_client: "redis.Redis") -> None:
    pool = make_pool()
    send(
        redis_client,
        interval(pool, START, 10),
        interval(pool, START + timedelta(seconds=10), 10),
        interval(pool, START + timedelta(seconds=25), 10),
        interval(pool, START + timedelta(seconds=90), 10, boot_id="boot-2"),
    )
    ingest(NOW)
    refresh_open_periods(NOW)

    found = gaps(BillingPeriod.objects.get())

    assert found == [("worker-1", START + timedelta(seconds=20), START + timedelta(seconds=25))]
