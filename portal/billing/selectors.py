"""Reads of the money: prices at a moment, and what a tenant was charged and cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db.models import Count, DecimalField, ExpressionWrapper, F, Max, Q, Sum

from portal.billing.models import BillingPeriod, CostLine, LedgerEntry, PriceBook, Rate
from portal.tenants.models import Tenant

AMOUNT = ExpressionWrapper(
    F("input_amount") + F("cached_input_amount") + F("output_amount"),
    DecimalField(max_digits=40, decimal_places=12),
)
"""An entry's whole charge, for queries."""
_SHARE_STEP = Decimal("0.000001")

_Scope = tuple[str, int | None, UUID | None]


@dataclass(frozen=True)
class RateCard:
    """The prices of one book, ready to look up. Without a book it knows no price."""

    book: PriceBook | None
    _rates: dict[_Scope, Rate]

    @classmethod
    def of(cls, book: PriceBook | None, rates: Iterable[Rate]) -> "RateCard":
        return cls(book, {(rate.base_model, rate.tier_id, rate.tenant_id): rate for rate in rates})

    def pick(self, *, tenant_id: UUID, tier_id: int | None, base_model: str) -> Rate | None:
        """The tenant's own rate, else its tier's, else everyone's, else None."""
        scopes: list[_Scope] = [(base_model, None, tenant_id)]
        if tier_id is not None:
            scopes.append((base_model, tier_id, None))
        scopes.append((base_model, None, None))
        return next((self._rates[scope] for scope in scopes if scope in self._rates), None)

    def list_rate(self, base_model: str) -> Rate | None:
        """Everyone's rate: the public list price."""
        return self._rates.get((base_model, None, None))


def rates_at(now: datetime) -> RateCard:
    """The newest published book that is effective at ``now``."""
    book = (
        PriceBook.objects.filter(published_at__isnull=False, effective_from__lte=now)
        .order_by("-effective_from")
        .first()
    )
    return card_of(book)


def card_of(book: PriceBook | None) -> RateCard:
    rates = Rate.objects.filter(book=book).select_related("book") if book is not None else ()
    return RateCard.of(book, rates)


@dataclass(frozen=True, kw_only=True)
class TenantSummary:
    """One tenant in one period and currency. Money is exact; ``cost`` is in cents and sums to the bills.

    ``margin`` is None where the tenant's cost is in another currency than its charge.
    """

    tenant_id: UUID
    tenant_name: str
    currency: str
    requests: int
    without_price: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    gpu_ns: int
    charge: Decimal
    cost: Decimal
    margin: Decimal | None
    token_share: Decimal
    gpu_share: Decimal

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def gpu_seconds(self) -> Decimal:
        return Decimal(self.gpu_ns).scaleb(-9)


@dataclass(frozen=True, kw_only=True)
class WorkerBill:
    """A worker's bill in a period and its lines, which sum to ``total`` to the cent."""

    worker_id: str
    currency: str
    total: Decimal
    lines: tuple[CostLine, ...]


def tenant_summary(period: BillingPeriod) -> list[TenantSummary]:
    """Every tenant with use or cost in the period, by name. Shares are of the period's whole, 0 to 1."""
    used = _used(period)
    costs = _busy_costs(period)
    all_tokens = sum(max(0, row["prompt"] + row["completion"]) for row in used.values())
    all_gpu = sum(row["gpu_ns"] for row in used.values())
    rows = [
        TenantSummary(
            tenant_id=tenant_id,
            tenant_name=row["name"],
            currency=currency,
            requests=row["requests"],
            without_price=row["without_price"],
            prompt_tokens=row["prompt"],
            cached_tokens=row["cached"],
            completion_tokens=row["completion"],
            gpu_ns=int(row["gpu_ns"]),
            charge=row["charge"],
            cost=costs.get((tenant_id, currency), Decimal(0)),
            margin=_margin(row["charge"], costs, tenant_id, currency),
            token_share=_share(row["prompt"] + row["completion"], all_tokens),
            gpu_share=_share(int(row["gpu_ns"]), all_gpu),
        )
        for (tenant_id, currency), row in used.items()
    ]
    return sorted(rows, key=lambda row: (row.tenant_name, row.currency, str(row.tenant_id)))


def _used(period: BillingPeriod) -> dict[tuple[UUID, str], dict[str, Any]]:
    rows: Iterable[Any] = (
        LedgerEntry.objects.filter(period=period)
        .order_by()
        .values("tenant_id", "currency")
        .annotate(
            # A tenant that was renamed within the month is shown under one of its names.
            name=Max("tenant_name"),
            requests=Count("pk", filter=Q(corrects__isnull=True)),
            without_price=Count("pk", filter=Q(rate__isnull=True, corrects__isnull=True)),
            prompt=Sum("prompt_tokens"),
            cached=Sum("cached_tokens"),
            completion=Sum("completion_tokens"),
            gpu_ns=Sum("gpu_ns"),
            charge=Sum(AMOUNT),
        )
    )
    return {(row["tenant_id"], row["currency"]): row for row in rows}


def _busy_costs(period: BillingPeriod) -> dict[tuple[UUID, str], Decimal]:
    rows = (
        CostLine.objects.filter(period=period, tenant__isnull=False)
        .order_by()
        .values_list("tenant_id", "currency")
        .annotate(cost=Sum("amount"))
    )
    return {(tenant_id, currency): cost for tenant_id, currency, cost in rows if tenant_id}


def _margin(
    charge: Decimal, costs: dict[tuple[UUID, str], Decimal], tenant_id: UUID, currency: str
) -> Decimal | None:
    if any(tenant == tenant_id and other != currency for tenant, other in costs):
        return None
    return charge - costs.get((tenant_id, currency), Decimal(0))


def _share(part: int, whole: int) -> Decimal:
    """Corrections may leave a tenant below zero in a month: it has no share then."""
    return (Decimal(max(0, part)) / Decimal(whole)).quantize(_SHARE_STEP) if whole else Decimal(0)


def worker_bills(period: BillingPeriod) -> list[WorkerBill]:
    """As of the last refresh of the cost lines; of a closed period, for ever."""
    lines = CostLine.objects.filter(period=period).select_related("tenant")
    ordered = lines.order_by("worker_id", "currency", "kind", "tenant__name", "pk")
    return [
        WorkerBill(
            worker_id=worker,
            currency=currency,
            total=sum((line.amount for line in own), Decimal(0)),
            lines=own,
        )
        for (worker, currency), group in groupby(ordered, key=lambda line: (line.worker_id, line.currency))
        for own in [tuple(group)]
    ]


def tenant_charge(tenant: Tenant | UUID, start: datetime, end: datetime) -> Decimal:
    """The exact charge for requests admitted in ``[start, end)``, as far as they are rated."""
    tenant_id = tenant.pk if isinstance(tenant, Tenant) else tenant
    entries = LedgerEntry.objects.filter(tenant_id=tenant_id, ts__gte=start, ts__lt=end)
    total: Decimal | None = entries.aggregate(total=Sum(AMOUNT))["total"]
    return total if total is not None else Decimal(0)
