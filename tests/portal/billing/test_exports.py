"""The exports keep FOCUS 1.2's rules, sum to the ledger, and repeat byte for byte."""

import csv
import hashlib
import io
import json
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest
import redis
from django.core.management import CommandError, call_command

from portal.billing import closing
from portal.billing.costing import refresh_open_periods
from portal.billing.exports.columns import COLUMNS, FOCUS
from portal.billing.exports.services import FORMATS, Export, build_export
from portal.billing.models import BillingPeriod, LedgerEntry
from portal.billing.selectors import tenant_summary, worker_bills
from tests.portal.billing.books import (
    NOW,
    START,
    add_rate,
    engine_event,
    gateway_event,
    interval,
    make_app,
    make_book,
    make_pool,
    make_tenant,
    send,
)

pytestmark = pytest.mark.django_db

Row = dict[str, str]
AFTER = NOW + timedelta(minutes=3)


@pytest.fixture
def period(redis_client: "redis.Redis") -> BillingPeriod:
    """Two tenants, one with its own price and awkward names, over two days; one model without price."""
    pool = make_pool()
    acme, odd = make_tenant(pool, "Acme"), make_tenant(pool, '=Globex, "Shop"\nLtd é')
    book = make_book(("1.00", "0.10", "2.00"), published=False)
    add_rate(book, "0.333333", "0.033333", "0.999999", tenant=odd)
    book.published_at = NOW
    book.save()
    app = make_app(acme)
    for tenant, key, given, done in (
        (acme, "a1", {"app_id": str(app.pk)}, {}),
        (acme, "a2", {"app_id": str(app.pk)}, {"completion_tokens": 7}),
        (acme, "a3", {"ts": NOW - timedelta(days=2)}, {"cached_tokens": 0}),
        (acme, "a4", {"base_model": "unpriced"}, {}),
        (odd, "o1", {"alias": None}, {"prompt_tokens": 999_999_937, "completion_tokens": 1}),
        (odd, "o2", {}, {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}),
    ):
        send(redis_client, gateway_event(tenant, key, **given), engine_event(tenant, key, **done))
    send(redis_client, interval(pool, START, 3601, busy_ns=4 * 10**9, startup_ns=10**9))
    closing.drain(NOW)
    refresh_open_periods(NOW)
    return BillingPeriod.objects.get()


@pytest.fixture
def closed(period: BillingPeriod) -> BillingPeriod:
    return closing.close_period(period.month, user=None, now=AFTER, accept=["requests_without_price"])


def csv_rows(export: Export) -> list[Row]:
    return list(csv.DictReader(io.StringIO(export.data.decode(), newline="")))


def test_all_columns_of_focus_stand_in_its_order_and_ours_after_them(period: BillingPeriod) -> None:
    header = next(csv.reader(io.StringIO(build_export(period, "focus-csv").data.decode())))

    assert len(FOCUS) == 57
    assert header[:57] == sorted(header[:57], key=str.lower)
    assert header == [column.name for column in COLUMNS]
    assert all(name.startswith("x_") for name in header[57:])


def test_every_line_keeps_the_rules_of_focus(period: BillingPeriod) -> None:
    rows = csv_rows(build_export(period, "focus-csv"))

    assert rows
    for row in rows:
        for listed in ("BilledCost", "ListCost", "ContractedCost", "EffectiveCost", "PricingQuantity"):
            assert Decimal(row[listed]) >= 0
            assert not set(row[listed]) & set("+eE,")
        if row["SkuPriceId"]:
            quantity = Decimal(row["PricingQuantity"])
            assert Decimal(row["ListCost"]) == Decimal(row["ListUnitPrice"]) * quantity
            assert Decimal(row["ContractedCost"]) == Decimal(row["ContractedUnitPrice"]) * quantity
        else:
            assert Decimal(row["BilledCost"]) == 0
            assert row["ListUnitPrice"] == row["ContractedUnitPrice"] == row["PricingCategory"] == ""
        assert row["BilledCost"] == row["EffectiveCost"] == row["ContractedCost"]
        assert row["ProviderName"] == row["InvoiceIssuerName"]
        assert (row["ChargeCategory"], row["ChargeClass"], row["InvoiceId"]) == ("Usage", "", "")
        assert (row["PricingUnit"], row["ConsumedUnit"]) == ("1000000 Tokens", "Tokens")
        assert Decimal(row["ConsumedQuantity"]) == Decimal(row["PricingQuantity"]) * 1_000_000
        starts, ends = moment(row["ChargePeriodStart"]), moment(row["ChargePeriodEnd"])
        assert ends - starts == timedelta(days=1)
        assert moment(row["BillingPeriodStart"]) <= starts < moment(row["BillingPeriodEnd"])
        for name in ("Tags", "SkuPriceDetails"):
            assert not row[name] or flat(json.loads(row[name]))


def test_one_price_has_one_sku_price_id_and_one_set_of_details(period: BillingPeriod) -> None:
    described: dict[str, set[tuple[str, ...]]] = defaultdict(set)

    for row in csv_rows(build_export(period, "focus-csv")):
        if row["SkuPriceId"]:
            described[row["SkuPriceId"]].add(
                (row["ContractedUnitPrice"], row["SkuPriceDetails"], row["SkuMeter"], row["SkuId"])
            )

    assert described
    assert all(len(meanings) == 1 for meanings in described.values())


def test_the_lines_sum_to_the_ledger_by_tenant_to_the_last_decimal(period: BillingPeriod) -> None:
    charges: dict[str, Decimal] = defaultdict(Decimal)
    tokens: dict[str, Decimal] = defaultdict(Decimal)
    requests: dict[str, int] = defaultdict(int)
    for row in csv_rows(build_export(period, "focus-csv")):
        charges[row["SubAccountName"]] += Decimal(row["BilledCost"])
        tokens[row["SubAccountName"]] += Decimal(row["ConsumedQuantity"])
        requests[row["SubAccountName"]] += int(row["x_RequestCount"])

    expected: dict[str, Decimal] = defaultdict(Decimal)
    for entry in LedgerEntry.objects.select_related("rate"):
        if entry.rate is not None:
            expected[entry.tenant_name] += (
                entry.rate.input_price * (entry.prompt_tokens - entry.cached_tokens)
                + entry.rate.cached_input_price * entry.cached_tokens
                + entry.rate.output_price * entry.completion_tokens
            ) / 1_000_000

    assert dict(charges) == dict(expected)
    for summary in tenant_summary(period):
        assert charges[summary.tenant_name] == summary.charge
        assert tokens[summary.tenant_name] == summary.tokens
        assert requests[summary.tenant_name] == summary.requests


def test_a_negotiated_price_shows_the_public_one_beside_it(period: BillingPeriod) -> None:
    rows = csv_rows(build_export(period, "focus-csv"))

    (output,) = [
        r
        for r in rows
        if r["SubAccountName"].startswith("=") and r["x_Meter"] == "output" and r["x_Alias"] == ""
    ]

    assert (output["ListUnitPrice"], output["ContractedUnitPrice"]) == ("2.0", "0.999999")


def test_parquet_and_csv_say_the_same(period: BillingPeriod) -> None:
    rows = csv_rows(build_export(period, "focus-csv"))
    table = pq.read_table(io.BytesIO(build_export(period, "focus-parquet").data))

    assert table.column_names == [column.name for column in COLUMNS]
    assert table.num_rows == len(rows)
    for mine, theirs in zip(table.to_pylist(), rows, strict=True):
        for column in COLUMNS:
            assert same(mine[column.name], theirs[column.name]), column.name


@pytest.mark.parametrize("chosen", FORMATS)
def test_the_same_export_twice_is_the_same_bytes(closed: BillingPeriod, chosen: Any) -> None:
    first, second = build_export(closed, chosen), build_export(closed, chosen)

    assert first == second


def test_the_metadata_names_the_columns_the_sums_and_the_data(closed: BillingPeriod) -> None:
    export = build_export(closed, "focus-csv")

    told = json.loads(export.metadata)

    dataset = told["x_Dataset"]
    assert dataset["Sha256"] == hashlib.sha256(export.data).hexdigest()
    assert (dataset["Status"], dataset["Rows"]) == ("final", len(csv_rows(export)))
    assert dataset["RequestCount"] == 6
    assert Decimal(dataset["Sums"]["USD"]["BilledCost"]) == Decimal(closed.totals["charge"]["USD"])
    assert [one["ColumnName"] for one in told["Schema"]["ColumnDefinition"]] == [c.name for c in COLUMNS]
    assert told["Schema"]["FocusVersion"] == "1.2"


def test_the_workbook_reads_as_the_books_do(period: BillingPeriod) -> None:
    book = openpyxl.load_workbook(io.BytesIO(build_export(period, "xlsx").data))

    summary, workers = book["Summary"], book["Cost per worker"]
    names = [summary.cell(row, 1).value for row in range(4, 4 + len(tenant_summary(period)))]
    (bill,) = worker_bills(period)
    amounts = [row[4].value for row in workers.iter_rows(min_row=2, max_row=1 + len(bill.lines))]
    assert "PROVISIONAL" in str(summary["A1"].value)
    assert names == [row.tenant_name for row in tenant_summary(period)]
    assert sum(Decimal(str(amount)) for amount in amounts) == bill.total
    assert workers.cell(2 + len(bill.lines), 5).value == f"=SUM(E2:E{1 + len(bill.lines)})"
    assert book["Lines"].max_row == 1 + len(csv_rows(build_export(period, "focus-csv")))


@pytest.mark.parametrize("chosen", FORMATS)
def test_the_command_writes_data_and_metadata(period: BillingPeriod, chosen: str, tmp_path: Path) -> None:
    out, err = io.StringIO(), io.StringIO()

    call_command(
        "export_chargeback", period.month, "--format", chosen, "--out", str(tmp_path), stdout=out, stderr=err
    )

    data, metadata = (Path(line) for line in out.getvalue().split())
    assert "provisional" in data.name
    assert "provisional" in err.getvalue()
    assert json.loads(metadata.read_text())["x_Dataset"]["File"] == data.name
    assert sorted(tmp_path.iterdir()) == sorted([data, metadata])


def test_the_command_refuses_unknown_months_and_folders_it_cannot_write(
    period: BillingPeriod, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CommandError, match="period_unknown"):
        call_command("export_chargeback", "2020-01", "--format", "xlsx", "--out", str(tmp_path))
    with pytest.raises(CommandError, match="folder_unwritable"):
        call_command("export_chargeback", period.month, "--format", "xlsx", "--out", str(tmp_path / "file"))


def test_an_open_month_without_use_exports_its_header_alone(redis_client: "redis.Redis") -> None:
    assert redis_client.dbsize() == 0
    refresh_open_periods(NOW)
    period = BillingPeriod.objects.get()

    exports = [build_export(period, chosen) for chosen in FORMATS]

    assert csv_rows(exports[0]) == []
    assert all(json.loads(export.metadata)["x_Dataset"]["Rows"] == 0 for export in exports)


def moment(text: str) -> datetime:
    assert len(text) == len("2026-11-21T00:00:00Z")
    return datetime.fromisoformat(text)


def flat(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str | int | bool) for item in value.values())


def same(parquet: Any, text: str) -> bool:
    match parquet:
        case None:
            return text == ""
        case Decimal() | int():
            return Decimal(text) == parquet
        case datetime():
            return moment(text) == parquet
        case _:
            return bool(text == parquet)
