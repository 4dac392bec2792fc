"""The close: what stands against it, what it freezes, and that it stays so."""

import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from portal.billing import closing
from portal.billing.costing import refresh_open_periods
from portal.billing.errors import PeriodError
from portal.billing.exports.lines import focus_lines
from portal.billing.models import BillingPeriod, CostLine, LedgerEntry
from portal.billing.periods import open_period
from portal.billing.selectors import tenant_charge, tenant_summary, worker_bills
from portal.core import clock
from portal.tenants.models import Tenant
from tests.portal.billing.books import (
    NOW,
    START,
    engine_event,
    gateway_event,
    interval,
    make_book,
    make_pool,
    make_tenant,
    send,
)

pytestmark = pytest.mark.django_db

AFTER = NOW + timedelta(minutes=3)


@pytest.fixture
def tenant() -> Tenant:
    make_book(("1.00", "0.10", "2.00"))
    return make_tenant(make_pool())


def use(client: "redis.Redis", tenant: Tenant, *names: str, **fields: Any) -> None:
    for name in names:
        send(client, gateway_event(tenant, name, **fields), engine_event(tenant, name, **fields))


def codes(error: pytest.ExceptionInfo[closing.CloseRefusedError]) -> set[str]:
    return {finding.code for finding in error.value.findings}


def test_a_closed_month_holds_its_requests_and_costs_and_says_what_was_found(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    use(redis_client, tenant, "r1", "r2")
    send(redis_client, interval(tenant.pool, START, 10, busy_ns=2 * 10**9, startup_ns=10**9))
    closing.drain(NOW)

    period = closing.close_period("2026-11", user=None, now=AFTER)

    assert (period.state, period.closed_at) == ("closed", AFTER)
    assert period.totals["requests"] == 2
    assert Decimal(period.totals["charge"]["USD"]) == Decimal("0.000208")
    assert period.totals["bills"] == {"USD": "0.01"}
    assert "billed in 2026-12" in period.totals["statement"]
    assert tenant_charge(tenant, period.start, period.end) == Decimal("0.000208")


def test_the_summary_of_tenants_and_the_bills_of_workers_add_up(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    other = make_tenant(tenant.pool, "Globex")
    use(redis_client, tenant, "r1", "r2", "r3")
    use(redis_client, other, "r4")
    send(redis_client, interval(tenant.pool, START, 3600, busy_ns=4 * 10**9, startup_ns=60 * 10**9))
    closing.drain(NOW)
    refresh_open_periods(NOW)

    period = BillingPeriod.objects.get()
    acme, globex = tenant_summary(period)
    (bill,) = worker_bills(period)

    assert bill.total == Decimal("3.60")
    assert {(line.kind, line.tenant_id and str(line.tenant_id)): line.ns for line in bill.lines} == {
        ("busy", str(tenant.pk)): 1_500_000_000,
        ("busy", str(other.pk)): 500_000_000,
        ("idle", None): 3536 * 10**9,
        ("residual", None): 2 * 10**9,
        ("startup", None): 60 * 10**9,
    }
    assert (acme.gpu_ns, globex.gpu_ns) == (1_500_000_000, 500_000_000)
    assert (acme.token_share, globex.gpu_share) == (Decimal("0.75"), Decimal("0.25"))
    assert acme.margin == acme.charge - acme.cost


def test_half_known_requests_stand_against_a_close_until_they_are_accepted(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    use(redis_client, tenant, "r1")
    send(redis_client, gateway_event(tenant, "r2"))
    closing.drain(NOW)

    with pytest.raises(closing.CloseRefusedError) as refusal:
        closing.close_period("2026-11", user=None, now=NOW)

    assert codes(refusal) == {"requests_waiting"}
    closing.close_period("2026-11", user=None, now=NOW, accept=["requests_waiting"])
    closing.drain(AFTER)
    assert LedgerEntry.objects.get(pk="r2").period_id == "2026-12"


def test_usage_that_nobody_took_in_stands_against_a_close(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    use(redis_client, tenant, "r1")
    soon = clock.now() + timedelta(minutes=1)
    period = open_period(f"{soon:%Y-%m}")

    with pytest.raises(closing.CloseRefusedError) as refusal:
        closing.close_period(period.month, user=None, now=soon)

    assert codes(refusal) == {"events_not_ingested"}


def test_requests_without_price_and_workers_without_rate_are_named(redis_client: "redis.Redis") -> None:
    tenant = make_tenant(make_pool(hourly=None))
    use(redis_client, tenant, "r1")
    send(redis_client, interval(tenant.pool, START, 10))
    closing.drain(NOW)

    with pytest.raises(closing.CloseRefusedError) as refusal:
        closing.close_period("2026-11", user=None, now=NOW)

    assert codes(refusal) == {"requests_without_price", "workers_without_rate"}
    assert not CostLine.objects.exists()


@pytest.mark.usefixtures("redis_client")
def test_months_are_closed_once_in_order_and_not_before_they_begin() -> None:
    for month in ("2026-10", "2026-11", "2026-12"):
        open_period(month)

    refusals = []
    for month in ("2026-09", "2026-11", "2026-12", "november"):
        with pytest.raises(PeriodError) as refusal:
            closing.close_period(month, user=None, now=NOW)
        refusals.append(refusal.value.code)
    closing.close_period("2026-10", user=None, now=NOW)
    with pytest.raises(PeriodError) as refusal:
        closing.close_period("2026-10", user=None, now=NOW)

    assert refusals == ["period_unknown", "earlier_period_open", "period_not_begun", "month_malformed"]
    assert refusal.value.code == "period_closed"


def test_what_arrives_after_the_close_is_billed_in_the_next_month(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    use(redis_client, tenant, "r1")
    send(redis_client, interval(tenant.pool, START, 3600))
    closing.drain(NOW)
    closing.close_period("2026-11", user=None, now=AFTER)
    before = list(CostLine.objects.values_list("pk", "amount"))
    use(redis_client, tenant, "r2")
    send(redis_client, interval(tenant.pool, START + timedelta(hours=1), 7200))

    # The clock of this drain is behind the close, as that of another host may be.
    closing.drain(NOW)
    december = open_period("2026-12")
    refresh_open_periods(december.start)

    assert LedgerEntry.objects.get(pk="r2").period_id == "2026-12"
    assert list(CostLine.objects.filter(period_id="2026-11").values_list("pk", "amount")) == before
    assert [bill.total for bill in worker_bills(december)] == [Decimal("7.20")]


def test_a_correction_of_a_closed_month_is_billed_in_the_next_one_and_is_no_request(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, gateway_event(tenant, "r1"))
    closing.drain(NOW)
    closing.drain(AFTER)
    closing.close_period("2026-11", user=None, now=AFTER)
    send(redis_client, engine_event(tenant, "r1", completion_tokens=5))
    closing.drain(AFTER)
    closing.drain(AFTER + timedelta(minutes=3))

    november, december = BillingPeriod.objects.order_by("month")
    (summary,) = tenant_summary(december)
    (line,) = focus_lines(december)

    assert LedgerEntry.objects.get(corrects="r1").period == december
    assert (summary.requests, summary.completion_tokens, summary.charge) == (0, -15, Decimal("-0.00003"))
    assert (summary.token_share, summary.gpu_ns) == (0, 500_000_000)
    assert (line["ChargeClass"], line["x_RequestCount"], line["BilledCost"]) == (
        "Correction",
        0,
        Decimal("-0.00003"),
    )
    assert [line["ChargeClass"] for line in focus_lines(november)] == [None, None, None]


def test_a_correction_within_an_open_month_is_plain_usage(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, gateway_event(tenant, "r1"))
    closing.drain(NOW)
    closing.drain(AFTER)
    send(redis_client, engine_event(tenant, "r1", completion_tokens=25))
    closing.drain(AFTER)
    closing.drain(AFTER + timedelta(minutes=3))

    period = BillingPeriod.objects.get()
    (summary,) = tenant_summary(period)

    assert (summary.requests, summary.completion_tokens, summary.gpu_ns) == (1, 25, 500_000_000)
    assert [line["x_RequestCount"] for line in focus_lines(period)] == [1, 0, 0]
    assert {line["ChargeClass"] for line in focus_lines(period)} == {None}
    assert "without_engine_event" not in {one.code for one in closing.findings(period, now=AFTER)}


@pytest.fixture
def closed(tenant: Tenant, redis_client: "redis.Redis") -> BillingPeriod:
    use(redis_client, tenant, "r1")
    send(redis_client, interval(tenant.pool, START, 3600))
    closing.drain(NOW)
    return closing.close_period("2026-11", user=None, now=AFTER)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE billing_billingperiod SET state = 'open'",
        "UPDATE billing_billingperiod SET totals = '{}'",
        "DELETE FROM billing_billingperiod",
        "UPDATE billing_ledgerentry SET output_amount = 0",
        "DELETE FROM billing_ledgerentry",
        "UPDATE billing_costline SET amount = 0",
        "DELETE FROM billing_costline",
        "INSERT INTO billing_costline (period_id, worker_id, kind, ns, amount, currency)"
        " VALUES ('2026-11', 'w', 'idle', 1, 1, 'USD')",
        "INSERT INTO billing_ledgerentry SELECT (jsonb_populate_record("
        'e, \'{"request_id": "forged"}\')).* FROM billing_ledgerentry e',
        "UPDATE billing_pricebook SET name = 'other'",
        "UPDATE billing_rate SET input_price = 0",
        "DELETE FROM billing_rate",
    ],
)
@pytest.mark.usefixtures("closed")
def test_the_database_itself_keeps_a_closed_month_closed(sql: str) -> None:
    with pytest.raises(IntegrityError, match=r"closed|never change"), transaction.atomic():
        connection.cursor().execute(sql)


def test_the_command_takes_in_what_is_there_waits_and_closes(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    now = clock.now()
    month = f"{now:%Y-%m}"
    use(redis_client, tenant, "r1", ts=now)
    out = io.StringIO()

    call_command("close_period", month, stdout=out)

    assert "Taken in: 2 events" in out.getvalue()
    assert f"{month} is closed: 1 request." in out.getvalue()
    assert "has not ended" in out.getvalue()


def test_the_command_says_what_it_waits_for_and_how_to_close_all_the_same(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    now = clock.now()
    send(redis_client, gateway_event(tenant, "r1", ts=now))
    out = io.StringIO()

    with pytest.raises(CommandError, match="--accept requests_waiting"):
        call_command("close_period", f"{now:%Y-%m}", "--wait", "0.1", stdout=out)

    assert "Waiting for the second event of 1 request" in out.getvalue()


def test_the_command_refuses_unknown_months_and_users_with_their_codes() -> None:
    with pytest.raises(CommandError, match="period_unknown"):
        call_command("close_period", "2020-01", stdout=io.StringIO())
    with pytest.raises(CommandError, match="month_malformed"):
        call_command("close_period", "2020-13", stdout=io.StringIO())
    with pytest.raises(CommandError, match="user_unknown"):
        call_command("close_period", "2020-01", "--user", "nobody", stdout=io.StringIO())
