"""The export for people: a workbook with a sheet per question."""

import io
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import xlsxwriter

from portal.billing.exports.lines import Line
from portal.billing.exports.writers import csv_field
from portal.billing.models import BillingPeriod, CostLine, PeriodState
from portal.billing.selectors import TenantSummary, WorkerBill

_CREATED = datetime(2000, 1, 1)  # noqa: DTZ001 - XlsxWriter wants it naive; fixed, so that bytes repeat
_MONEY, _EXACT, _COUNT, _SHARE, _SECONDS = "#,##0.00", "0.000000000000", "#,##0", "0.00%", "#,##0.000"

_SUMMARY = (
    ("Tenant", 28, None),
    ("Currency", 9, None),
    ("Requests", 11, _COUNT),
    ("Input tokens", 14, _COUNT),
    ("of these cached", 14, _COUNT),
    ("Output tokens", 14, _COUNT),
    ("Charge", 20, _EXACT),
    ("GPU-seconds", 14, _SECONDS),
    ("Cost", 14, _MONEY),
    ("Margin", 20, _EXACT),
    ("Share of tokens", 15, _SHARE),
    ("Share of GPU-seconds", 19, _SHARE),
    ("Requests without price", 21, _COUNT),
)
_LINES = (
    *("ChargePeriodStart", "SubAccountName", "x_AppName", "x_Alias", "ResourceName", "x_BaseModel"),
    *("SkuMeter", "ConsumedQuantity", "PricingUnit", "ContractedUnitPrice", "BilledCost", "BillingCurrency"),
    *("x_RequestCount", "x_GpuSeconds"),
)


def as_workbook(
    period: BillingPeriod,
    *,
    tenants: Sequence[TenantSummary],
    lines: Sequence[Line],
    bills: Sequence[WorkerBill],
) -> bytes:
    buffer = io.BytesIO()
    # Text stays text: a tenant may be called "=1+1".
    book = xlsxwriter.Workbook(
        buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    )
    book.set_properties({"title": f"Chargeback {period.month}", "author": "Tenantry", "created": _CREATED})
    styles = _Styles(book)
    _summary(book, styles, period, tenants)
    _lines(book, styles, lines)
    _workers(book, styles, bills)
    book.close()
    return buffer.getvalue()


class _Styles:
    def __init__(self, book: Any) -> None:
        self._book = book
        self._made: dict[tuple[str | None, bool], Any] = {}

    def of(self, number: str | None = None, *, bold: bool = False) -> Any:
        key = (number, bold)
        if key not in self._made:
            look: dict[str, Any] = {"bold": bold}
            if number:
                look["num_format"] = number
            self._made[key] = self._book.add_format(look)
        return self._made[key]


def _table(
    sheet: Any, styles: _Styles, top: int, columns: Sequence[tuple[str, int, str | None]], rows: list[Any]
) -> None:
    for number, (title, width, look) in enumerate(columns):
        sheet.set_column(number, number, width)
        sheet.write_string(top, number, title, styles.of(bold=True))
        for offset, row in enumerate(rows, start=1):
            _cell(sheet, top + offset, number, row[number], styles.of(look))
    sheet.freeze_panes(top + 1, 0)
    if rows:
        sheet.autofilter(top, 0, top + len(rows), len(columns) - 1)


def _cell(sheet: Any, row: int, column: int, value: Any, style: Any) -> None:
    if isinstance(value, Decimal | int):
        sheet.write_number(row, column, value, style)
    elif value is not None:
        sheet.write_string(row, column, csv_field(value), style)


def _summary(book: Any, styles: _Styles, period: BillingPeriod, tenants: Sequence[TenantSummary]) -> None:
    sheet = book.add_worksheet("Summary")
    state = "final" if period.state == PeriodState.CLOSED else "PROVISIONAL: the period is open"
    sheet.write_string(0, 0, f"Chargeback {period.month} (UTC), {state}", styles.of(bold=True))
    rows = [
        (
            row.tenant_name,
            row.currency,
            row.requests,
            row.prompt_tokens,
            row.cached_tokens,
            row.completion_tokens,
            row.charge,
            row.gpu_seconds,
            row.cost,
            row.margin,
            row.token_share,
            row.gpu_share,
            row.without_price,
        )
        for row in tenants
    ]
    _table(sheet, styles, 2, _SUMMARY, rows)


def _lines(book: Any, styles: _Styles, lines: Sequence[Line]) -> None:
    numbers = {"ContractedUnitPrice": "0.000000", "BilledCost": _EXACT, "ConsumedQuantity": _COUNT}
    numbers |= {"x_RequestCount": _COUNT, "x_GpuSeconds": _SECONDS}
    columns = [(name, 20, numbers.get(name)) for name in _LINES]
    rows = [tuple(line.get(name) for name in _LINES) for line in lines]
    _table(book.add_worksheet("Lines"), styles, 0, columns, rows)


def _workers(book: Any, styles: _Styles, bills: Sequence[WorkerBill]) -> None:
    """Every line of every bill, and the bill itself as the formula that must give the same."""
    sheet = book.add_worksheet("Cost per worker")
    columns = (
        ("Worker", 30, None),
        ("Line", 24, None),
        ("Tenant", 28, None),
        ("Seconds", 14, _SECONDS),
        ("Amount", 14, _MONEY),
        ("Currency", 9, None),
    )
    kinds = dict(CostLine.Kind.choices)
    rows: list[tuple[Any, ...]] = []
    totals: list[tuple[int, int, Decimal]] = []
    for bill in bills:
        first = len(rows) + 1
        rows += [
            (
                bill.worker_id,
                kinds[line.kind],
                line.tenant.name if line.tenant else None,
                Decimal(line.ns).scaleb(-9),
                line.amount,
                bill.currency,
            )
            for line in bill.lines
        ]
        rows.append((bill.worker_id, "Bill", None, None, None, bill.currency))
        totals.append((first, len(rows) - 1, bill.total))
    _table(sheet, styles, 0, columns, rows)
    for first, last, total in totals:
        formula = f"=SUM(E{first + 1}:E{last + 1})"
        sheet.write_formula(last + 1, 4, formula, styles.of(_MONEY, bold=True), float(total))
