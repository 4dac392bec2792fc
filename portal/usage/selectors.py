"""Reads of usage: names for ids, and one tenant's use of a span."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Count, F, Q, Sum

from portal.billing.models import CostLine, LedgerEntry
from portal.tenants.models import App, Tenant
from portal.usage.paid import FAILED, own_requests, own_work


@dataclass(frozen=True, kw_only=True)
class Money:
    """``cost`` is of cost lines written so far; None where there is none in this currency yet."""

    currency: str
    charge: Decimal
    cost: Decimal | None

    @property
    def margin(self) -> Decimal | None:
        return None if self.cost is None else self.charge - self.cost

    @property
    def margin_share(self) -> Decimal | None:
        """Percent of the charge."""
        return 100 * self.margin / self.charge if self.margin is not None and self.charge else None


@dataclass(frozen=True, kw_only=True)
class TenantUsage:
    """What a tenant did in ``[start, end)``. Tokens and ``gpu_ns`` as the engine counted them.

    Without shadow copies, and of a request that was tried again only the try that answered.
    """

    start: datetime
    end: datetime
    requests: int
    rejected: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    gpu_ns: int
    money: tuple[Money, ...]

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def tenant_usage(tenant: Tenant | UUID, start: datetime, end: datetime) -> TenantUsage:
    """The tenant's usage of requests admitted in ``[start, end)``: four queries."""
    tenant_id = tenant.pk if isinstance(tenant, Tenant) else tenant
    span = {"tenant_id": tenant_id, "ts__gte": start, "ts__lt": end}
    made = (
        own_requests()
        .filter(**span)
        .aggregate(
            requests=Count("pk"),
            rejected=Count("pk", filter=Q(outcome="rejected")),
            failed=Count("pk", filter=Q(outcome__in=FAILED)),
        )
    )
    used = (
        own_work()
        .filter(**span)
        .aggregate(
            prompt_tokens=Sum("prompt_tokens", default=0),
            cached_tokens=Sum("cached_tokens", default=0),
            completion_tokens=Sum("completion_tokens", default=0),
            gpu_ns=Sum(F("prefill_ns") + F("decode_ns"), default=0),
        )
    )
    return TenantUsage(
        start=start,
        end=end,
        money=_money(tenant_id, start, end),
        **made,
        **{name: int(value) for name, value in used.items()},
    )


def _money(tenant_id: UUID, start: datetime, end: datetime) -> tuple[Money, ...]:
    amount = F("input_amount") + F("cached_input_amount") + F("output_amount")
    charged = dict(
        LedgerEntry.objects.filter(tenant_id=tenant_id, ts__gte=start, ts__lt=end)
        .order_by()
        .values_list("currency")
        .annotate(total=Sum(amount))
    )
    cost = dict(
        CostLine.objects.filter(tenant_id=tenant_id, period__start__gte=start, period__start__lt=end)
        .order_by()
        .values_list("currency")
        .annotate(total=Sum("amount"))
    )
    return tuple(
        Money(currency=currency, charge=charged.get(currency, Decimal(0)), cost=cost.get(currency))
        for currency in sorted(charged.keys() | cost.keys())
    )


def tenant_names(ids: Iterable[UUID | None]) -> dict[UUID, str]:
    return dict(Tenant.objects.filter(pk__in={one for one in ids if one}).values_list("pk", "name"))


def app_names(ids: Iterable[UUID | None]) -> dict[UUID, str]:
    return dict(App.objects.filter(pk__in={one for one in ids if one}).values_list("pk", "name"))
