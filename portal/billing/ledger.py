"""Writes ledger entries: finds price, period and the names as they are now, and adds exact amounts."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from portal.adapters.models import AdapterVersion
from portal.billing.joining import Joined
from portal.billing.models import LedgerEntry, PriceBook, Rate
from portal.billing.months import month_of
from portal.billing.periods import period_for
from portal.billing.pricing import Prices, Tokens, charge, settlement_micro
from portal.billing.selectors import RateCard, card_of
from portal.tenants.models import App, Tenant

DEFAULT_CURRENCY = "USD"
"""Of entries that no price book covers; their amounts are zero."""
NO_PRICE = Prices(input=Decimal(0), cached_input=Decimal(0), output=Decimal(0))


@dataclass(frozen=True)
class Names:
    """What ids are called at the time of rating."""

    tenants: dict[UUID, Tenant]
    apps: dict[UUID, str]
    adapters: dict[UUID, str]


def write_entries(requests: list[Joined], *, now: datetime) -> list[LedgerEntry]:
    """One entry per request, in the running transaction, with the books shared.

    Requests of tenants that do not exist are left out: there is nobody to bill.
    """
    names = _names(requests)
    cards, promised = RateCards(), _promised(requests)
    months: dict[str, str] = {}
    entries: list[LedgerEntry] = []
    for request in requests:
        tenant = names.tenants.get(request.tenant_id)
        if tenant is None:
            continue
        month = month_of(request.ts)
        if month not in months:
            months[month] = period_for(request.ts).pk
        rate, currency = _price(request, tenant, promised, cards)
        entries.append(
            _entry(request, tenant, names, rate=rate, currency=currency, period=months[month], now=now)
        )
    LedgerEntry.objects.bulk_create(entries)
    return entries


def micro_of(entry: LedgerEntry) -> int:
    """What the entry comes to in the gateway's integers."""
    tokens = Tokens(
        prompt=entry.prompt_tokens, cached=entry.cached_tokens, completion=entry.completion_tokens
    )
    return settlement_micro(prices_of(entry.rate), tokens)


def prices_of(rate: Rate | None) -> Prices:
    if rate is None:
        return NO_PRICE
    return Prices(input=rate.input_price, cached_input=rate.cached_input_price, output=rate.output_price)


class RateCards:
    """Price books by moment, each read once."""

    def __init__(self) -> None:
        published = PriceBook.objects.filter(published_at__isnull=False)
        self._books = list(published.order_by("-effective_from"))
        self._cards: dict[int | None, RateCard] = {}

    def at(self, moment: datetime) -> RateCard:
        book = next((book for book in self._books if book.effective_from <= moment), None)
        key = book.pk if book else None
        if key not in self._cards:
            self._cards[key] = card_of(book)
        return self._cards[key]


def _names(requests: list[Joined]) -> Names:
    versions = AdapterVersion.objects.select_related("adapter").in_bulk(
        {request.adapter_version_id for request in requests if request.adapter_version_id}
    )
    apps = App.objects.in_bulk({request.app_id for request in requests if request.app_id})
    return Names(
        tenants=Tenant.objects.in_bulk({request.tenant_id for request in requests}),
        apps={key: app.name for key, app in apps.items()},
        adapters={key: f"{version.adapter.name} v{version.number}" for key, version in versions.items()},
    )


def _promised(requests: list[Joined]) -> dict[str, Rate]:
    """Published rates by the id under which gateways name them."""
    ids = {int(request.rate_id) for request in requests if request.rate_id.isdecimal()}
    found = Rate.objects.select_related("book").filter(pk__in=ids, book__published_at__isnull=False)
    return {str(rate.pk): rate for rate in found}


def _price(
    request: Joined, tenant: Tenant, promised: dict[str, Rate], cards: RateCards
) -> tuple[Rate | None, str]:
    """(the rate that the gateway promised, else that of the admission; its currency)."""
    rate = promised.get(request.rate_id)
    if rate is not None and rate.base_model == request.base_model and rate.tenant_id in {None, tenant.pk}:
        return rate, rate.book.currency
    card = cards.at(request.ts)
    picked = card.pick(tenant_id=tenant.pk, tier_id=tenant.tier_id, base_model=request.base_model)
    return picked, card.book.currency if card.book else DEFAULT_CURRENCY


def _entry(
    request: Joined,
    tenant: Tenant,
    names: Names,
    *,
    rate: Rate | None,
    currency: str,
    period: str,
    now: datetime,
) -> LedgerEntry:
    amounts = charge(prices_of(rate), request.tokens)
    return LedgerEntry(
        request_id=request.request_id,
        period_id=period,
        ts=request.ts,
        tenant=tenant,
        tenant_name=tenant.name,
        app_id=request.app_id,
        app_name=names.apps.get(request.app_id, "") if request.app_id else "",
        key_id=request.key_id,
        alias=request.alias,
        base_model=request.base_model,
        adapter_version_id=request.adapter_version_id,
        adapter_name=(
            names.adapters.get(request.adapter_version_id, "") if request.adapter_version_id else ""
        ),
        worker_id=request.worker_id,
        rate=rate,
        currency=currency,
        source=request.source,
        tokens_known=request.tokens_known,
        outcome=request.outcome,
        prompt_tokens=request.tokens.prompt,
        cached_tokens=request.tokens.cached,
        completion_tokens=request.tokens.completion,
        input_amount=amounts.input,
        cached_input_amount=amounts.cached_input,
        output_amount=amounts.output,
        gpu_ns=request.gpu_ns,
        created_at=now,
    )
