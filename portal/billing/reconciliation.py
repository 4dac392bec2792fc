"""A period's reconciliation as tables of words: what was charged, what it cost, where the two part."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from portal.billing import closing
from portal.billing.models import BillingPeriod, CostLine, PeriodState
from portal.billing.selectors import TenantSummary, WorkerBill, tenant_summary, worker_bills

Table = dict[str, Any]
"""As unfold's table component takes it: ``headers`` and ``rows``."""


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    status: str
    notes: list[str]
    totals: list[tuple[str, str]]
    tenants: Table
    workers: Table


def reconciliation(period: BillingPeriod, *, now: datetime) -> Reconciliation:
    tenants, bills = tenant_summary(period), worker_bills(period)
    return Reconciliation(
        status=_status(period),
        notes=_notes(period, bills, now),
        totals=_totals(tenants, bills),
        tenants={"headers": _TENANT_HEADERS, "rows": [_tenant_row(row) for row in tenants]},
        workers={
            "headers": ["Worker", "Bill", "Attributed to tenants"],
            "rows": [_bill_row(bill) for bill in bills],
            "collapsible": False,
        },
    )


_TENANT_HEADERS = [
    *("Tenant", "Requests", "Tokens", "Charge", "GPU-seconds", "Cost", "Margin"),
    *("Share of tokens", "Share of GPU-seconds"),
]


def _status(period: BillingPeriod) -> str:
    if period.state == PeriodState.CLOSED and period.closed_at:
        by = f" by {period.closed_by}" if period.closed_by else ""
        return f"Closed at {period.closed_at:%Y-%m-%d %H:%M} UTC{by}. These figures never change."
    return "Open: figures are provisional. Charges follow the requests, costs are refreshed every minute."


def _notes(period: BillingPeriod, bills: list[WorkerBill], now: datetime) -> list[str]:
    kept = period.totals.get("findings") if period.state == PeriodState.CLOSED else None
    notes = (
        [str(finding["message"]) for finding in kept]
        if kept is not None
        else [finding.message for finding in closing.findings(period, now=now)]
    )
    for bill in bills:
        over = [line for line in bill.lines if line.kind == CostLine.Kind.RESIDUAL and line.ns < 0]
        notes += [
            f"Requests on {bill.worker_id} claim {_seconds(-line.ns)} s more than its intervals metered: "
            "their steps fall into another period. Nobody pays twice."
            for line in over
        ]
    return notes


def _totals(tenants: list[TenantSummary], bills: list[WorkerBill]) -> list[tuple[str, str]]:
    charges: dict[str, Decimal] = {}
    costs: dict[str, Decimal] = {}
    kinds: dict[tuple[str, str], Decimal] = {}
    for row in tenants:
        charges[row.currency] = charges.get(row.currency, Decimal(0)) + row.charge
    for bill in bills:
        costs[bill.currency] = costs.get(bill.currency, Decimal(0)) + bill.total
        for line in bill.lines:
            key = (line.kind, bill.currency)
            kinds[key] = kinds.get(key, Decimal(0)) + line.amount
    figures = [("Charged", money(total, currency)) for currency, total in sorted(charges.items())]
    figures += [("Workers cost", money(total, currency)) for currency, total in sorted(costs.items())]
    names = dict(CostLine.Kind.choices)
    figures += [
        (f"of which {names[kind].lower()}", money(total, currency))
        for (kind, currency), total in sorted(kinds.items())
    ]
    return figures


def _tenant_row(row: TenantSummary) -> list[str]:
    return [
        row.tenant_name,
        f"{row.requests:,}" + (f" ({row.without_price:,} without price)" if row.without_price else ""),
        f"{row.tokens:,}",
        money(row.charge, row.currency),
        _seconds(row.gpu_ns),
        money(row.cost, row.currency),
        money(row.margin, row.currency) if row.margin is not None else "two currencies",
        f"{row.token_share:.1%}",
        f"{row.gpu_share:.1%}",
    ]


def _bill_row(bill: WorkerBill) -> dict[str, Any]:
    names = dict(CostLine.Kind.choices)
    busy = sum((line.amount for line in bill.lines if line.tenant_id), Decimal(0))
    return {
        "cols": [bill.worker_id, money(bill.total, bill.currency), money(busy, bill.currency)],
        "table": {
            "headers": ["Line", "Tenant", "Seconds", "Amount"],
            "rows": [
                [
                    names[line.kind],
                    line.tenant.name if line.tenant else "platform",
                    _seconds(line.ns),
                    money(line.amount, bill.currency),
                ]
                for line in bill.lines
            ],
        },
    }


def money(amount: Decimal, currency: str) -> str:
    """Two decimals; what is more than nothing and less than half a cent keeps six."""
    cents = amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    shown = amount.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP) if amount and not cents else cents
    return f"{shown:,f} {currency}"


def _seconds(ns: int) -> str:
    return f"{Decimal(ns).scaleb(-9):,.3f}"
