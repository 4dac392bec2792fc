"""The ledger as FOCUS charges: one per tenant, app, model, meter, day and price."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Case, Count, F, Q, Sum, When
from django.db.models import Value as Literal
from django.db.models.functions import TruncDay

from portal.billing.ledger import prices_of
from portal.billing.models import BillingPeriod, LedgerEntry, Rate
from portal.billing.pricing import TOKENS_PER_UNIT, amount_of
from portal.billing.selectors import RateCard

Value = str | int | Decimal | datetime | None
Line = dict[str, Value]
"""By column name; a column that is absent is null."""

PROVIDER = "Tenantry"
ACCOUNT_ID = "tenantry"

_GROUP = (
    "tenant_id",
    "tenant_name",
    "app_id",
    "app_name",
    "alias",
    "adapter_version_id",
    "adapter_name",
    "base_model",
    "currency",
    "rate_id",
)


_CORRECTION = Case(When(corrects__period__lt=F("period"), then=Literal(True)), default=Literal(False))
"""Whether a line corrects a month that is closed; within one month corrections are plain usage."""


@dataclass(frozen=True)
class Meter:
    """``price`` names the field of ``Rate`` and of ``Prices``."""

    name: str
    title: str
    price: str


INPUT = Meter("input", "Input Tokens", "input")
CACHED = Meter("cached_input", "Cached Input Tokens", "cached_input")
OUTPUT = Meter("output", "Output Tokens", "output")


def focus_lines(period: BillingPeriod) -> Iterator[Line]:
    """In an order that depends on nothing but the data."""
    rates = _Rates()
    groups = (
        LedgerEntry.objects.filter(period=period)
        .annotate(day=TruncDay("ts", tzinfo=UTC), correction=_CORRECTION)
        .order_by()
        .values("day", "correction", *_GROUP)
        .annotate(
            requests=Count("pk", filter=Q(corrects__isnull=True)),
            prompt=Sum("prompt_tokens"),
            cached=Sum("cached_tokens"),
            completion=Sum("completion_tokens"),
            gpu_ns=Sum("gpu_ns"),
        )
    )
    for group in sorted(groups, key=_order):
        yield from _group_lines(period, group, rates)


def _order(group: dict[str, Any]) -> tuple[str, ...]:
    what = (str(group[name] or "") for name in _GROUP)
    return (group["tenant_name"], group["day"].isoformat(), *what, str(group["correction"]))


class _Rates:
    """Rates by id, each with its book's list price beside it."""

    def __init__(self) -> None:
        self._rates = {rate.pk: rate for rate in Rate.objects.select_related("book")}
        books: dict[int, list[Rate]] = {}
        for rate in self._rates.values():
            books.setdefault(rate.book_id, []).append(rate)
        self._cards = {book: RateCard.of(rates[0].book, rates) for book, rates in books.items()}

    def of(self, rate_id: int | None) -> tuple[Rate | None, Rate | None]:
        """(the rate, the public one for the same model, itself where there is none)."""
        rate = self._rates[rate_id] if rate_id is not None else None
        if rate is None:
            return None, None
        return rate, self._cards[rate.book_id].list_rate(rate.base_model) or rate


def _group_lines(period: BillingPeriod, group: dict[str, Any], rates: _Rates) -> Iterator[Line]:
    used = [
        (INPUT, group["prompt"] - group["cached"]),
        (CACHED, group["cached"]),
        (OUTPUT, group["completion"]),
    ]
    # A group without a single token still had requests: one line says so.
    shown = [(meter, tokens) for meter, tokens in used if tokens] or used[-1:]
    rate, listed = rates.of(group["rate_id"])
    for number, (meter, tokens) in enumerate(shown):
        first = number == 0
        yield {
            **_dimensions(period, group, meter),
            **_money(meter, tokens, rate=rate, listed=listed, currency=group["currency"]),
            "x_RequestCount": group["requests"] if first else 0,
            "x_GpuSeconds": Decimal(int(group["gpu_ns"])).scaleb(-9) if first else Decimal(0),
        }


def _dimensions(period: BillingPeriod, group: dict[str, Any], meter: Meter) -> Line:
    day: datetime = group["day"]
    model, adapter = group["base_model"], group["adapter_name"] or None
    is_adapter = group["adapter_version_id"] is not None
    served = (adapter or str(group["adapter_version_id"])) if is_adapter else model
    described = f"{meter.title} of {served} on {model}" if is_adapter else f"{meter.title} of {model}"
    return {
        "BillingAccountId": ACCOUNT_ID,
        "BillingAccountName": PROVIDER,
        "BillingAccountType": "Platform",
        "BillingPeriodStart": period.start,
        "BillingPeriodEnd": period.end,
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if group["correction"] else None,
        "ChargeDescription": f"Correction: {described}" if group["correction"] else described,
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": day,
        "ChargePeriodEnd": day + timedelta(days=1),
        "InvoiceIssuerName": PROVIDER,
        "ProviderName": PROVIDER,
        "PublisherName": PROVIDER,
        "ResourceId": str(group["adapter_version_id"]) if is_adapter else model,
        "ResourceName": served,
        "ResourceType": "LoRA Adapter" if is_adapter else "Base Model",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "LLM Inference",
        "ServiceSubcategory": "Generative AI",
        "SubAccountId": str(group["tenant_id"]),
        "SubAccountName": group["tenant_name"],
        "SubAccountType": "Tenant",
        "Tags": _json({"alias": group["alias"] or None, "app": group["app_name"] or None}),
        "x_Meter": meter.name,
        "x_AppId": _text(group["app_id"]),
        "x_AppName": group["app_name"] or None,
        "x_Alias": group["alias"] or None,
        "x_AdapterVersionId": _text(group["adapter_version_id"]),
        "x_AdapterName": adapter,
        "x_BaseModel": model,
        "x_RateId": _text(group["rate_id"]),
    }


def _money(meter: Meter, tokens: int, *, rate: Rate | None, listed: Rate | None, currency: str) -> Line:
    """Without a price the charge is zero and unit prices are null."""
    quantity = Decimal(tokens).scaleb(-6)
    line: Line = {
        "BillingCurrency": currency,
        "PricingCurrency": currency,
        "PricingQuantity": quantity,
        "PricingUnit": f"{TOKENS_PER_UNIT} Tokens",
        "ConsumedQuantity": Decimal(tokens),
        "ConsumedUnit": "Tokens",
    }
    if rate is None or listed is None:
        zero = Decimal(0)
        costs = dict.fromkeys(("BilledCost", "EffectiveCost", "ContractedCost", "ListCost"), zero)
        return line | costs | {"PricingCurrencyEffectiveCost": zero}
    price: Decimal = getattr(prices_of(rate), meter.price)
    list_price: Decimal = getattr(prices_of(listed), meter.price)
    cost = amount_of(price, tokens)
    return line | {
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ContractedCost": cost,
        "ContractedUnitPrice": price,
        "ListCost": amount_of(list_price, tokens),
        "ListUnitPrice": list_price,
        "PricingCategory": "Standard",
        "PricingCurrencyContractedUnitPrice": price,
        "PricingCurrencyEffectiveCost": cost,
        "PricingCurrencyListUnitPrice": list_price,
        "SkuId": f"{rate.base_model}/{meter.name}",
        "SkuMeter": meter.title,
        "SkuPriceDetails": _json({"x_BaseModel": rate.base_model, "x_PriceBook": rate.book.name}),
        "SkuPriceId": f"{rate.pk}/{meter.name}",
    }


def _json(values: dict[str, str | None]) -> str | None:
    """Flat, sorted; null for an empty object's sake too."""
    kept = {key: value for key, value in values.items() if value is not None}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if kept else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
