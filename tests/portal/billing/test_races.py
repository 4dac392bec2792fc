"""What happens at the same time: raters, a close against a writer, ingest against a close."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

import pytest
import redis
from django.db import connection, transaction

from gateway_hooks.contract import keys
from portal.billing import closing
from portal.billing.costing import refresh_open_periods
from portal.billing.models import CostLine, LedgerEntry
from portal.billing.periods import open_period
from portal.billing.services import rate_requests
from portal.core import clock
from portal.usage.models import PendingRequest
from portal.usage.services import ingest
from tests.portal.billing.books import (
    NOW,
    START,
    engine_event,
    gateway_event,
    hold,
    interval,
    make_book,
    make_pool,
    make_tenant,
    send,
)
from tests.services import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Result = TypeVar("Result")
AFTER = NOW + timedelta(minutes=3)


def beside(pool: ThreadPoolExecutor, work: Callable[[], Result]) -> "Future[Result]":
    """Run in a thread with a connection of its own."""

    def run() -> Result:
        try:
            return work()
        finally:
            connection.close()

    return pool.submit(run)


def waiting_for_locks() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_raters_at_the_same_time_charge_and_settle_every_request_once(redis_client: "redis.Redis") -> None:
    make_book(("1", "1", "1"))
    tenant = make_tenant(make_pool())
    names = [f"r{number}" for number in range(200)]
    for name in names:
        hold(redis_client, tenant, name, 1000)
        send(redis_client, gateway_event(tenant, name), engine_event(tenant, name))
    ingest(NOW)

    with ThreadPoolExecutor(4) as pool:
        done = [beside(pool, lambda: rate_requests(NOW, batch=10)) for _ in range(4)]
        entries = sum(future.result().entries for future in done)

    assert entries == LedgerEntry.objects.count() == 200
    assert not PendingRequest.objects.exists()
    assert int(redis_client.get(keys.spend(str(tenant.pk), "tenant", "2026-11")) or 0) == 200 * 120


def test_raters_at_the_same_time_correct_every_entry_once(redis_client: "redis.Redis") -> None:
    make_book(("1", "1", "1"))
    tenant = make_tenant(make_pool())
    names = [f"r{number}" for number in range(100)]
    send(redis_client, *(gateway_event(tenant, name) for name in names))
    ingest(NOW)
    rate_requests(AFTER)
    send(redis_client, *(engine_event(tenant, name, completion_tokens=30) for name in names))
    ingest(AFTER)
    late = AFTER + timedelta(minutes=3)

    with ThreadPoolExecutor(4) as pool:
        done = [beside(pool, lambda: rate_requests(late, batch=10)) for _ in range(4)]
        corrections = sum(future.result().corrections for future in done)

    assert corrections == LedgerEntry.objects.filter(corrects__isnull=False).count() == 100
    assert LedgerEntry.objects.count() == 200
    assert sum(entry.amount for entry in LedgerEntry.objects.all()) == Decimal("0.013")


def test_a_close_waits_for_a_raw_writer_and_counts_what_it_wrote(redis_client: "redis.Redis") -> None:
    make_book(("1", "1", "1"))
    tenant = make_tenant(make_pool())
    send(redis_client, gateway_event(tenant, "r1"), engine_event(tenant, "r1"))
    closing.drain(NOW)
    copy = (
        "INSERT INTO billing_ledgerentry SELECT (jsonb_populate_record("
        'e, \'{"request_id": "raw"}\')).* FROM billing_ledgerentry e'
    )

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(copy)
            close = beside(pool, lambda: closing.close_period("2026-11", user=None, now=AFTER))
            wait_until(waiting_for_locks, seconds=10, what="the close waits")
        closed = close.result(10)

    assert closed.totals["requests"] == 2


def test_time_that_arrives_during_a_close_is_paid_for_once(redis_client: "redis.Redis") -> None:
    now = clock.now()
    tenant = make_tenant(make_pool())
    period = open_period(f"{now:%Y-%m}")
    stop = threading.Event()

    def keep_ingesting() -> int:
        taken = 0
        while not stop.is_set():
            taken += ingest(now).taken
        return taken + ingest(now).taken

    with ThreadPoolExecutor(1) as pool:
        ingester = beside(pool, keep_ingesting)
        try:
            for number in range(30):
                send(redis_client, interval(tenant.pool, period.start + timedelta(minutes=number), 60))
                if number == 15:
                    closed = closing.close_period(period.month, user=None, now=now)
        finally:
            stop.set()
        taken = ingester.result(20)
    refresh_open_periods(closed.end)

    amounts = CostLine.objects.values_list("amount", flat=True)
    assert taken == 30
    assert sum(amounts) == Decimal("1.80"), "half an hour at 3.60, over both months"
    assert Decimal(closed.totals["bills"].get("USD", 0)) < Decimal("1.80")


def test_refreshing_costs_beside_each_other_leaves_one_set_of_lines(redis_client: "redis.Redis") -> None:
    tenant = make_tenant(make_pool())
    send(redis_client, interval(tenant.pool, START, 3600))
    ingest(NOW)

    with ThreadPoolExecutor(3) as pool:
        for future in [beside(pool, lambda: refresh_open_periods(NOW)) for _ in range(6)]:
            future.result(20)

    assert CostLine.objects.count() == 1
