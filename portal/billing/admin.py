"""The ledger, the cost lines and the parked events. Price books and periods have their own modules."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    RangeDateTimeFilter,
    RelatedDropdownFilter,
)

from portal.billing.models import CostLine, LedgerEntry
from portal.billing.period_pages import BillingPeriodAdmin
from portal.billing.price_pages import PriceBookAdmin
from portal.billing.reconciliation import money
from portal.core import clock
from portal.core.admin import ReadOnlyAdmin
from portal.core.decorators import action, display
from portal.core.pages import Question, ask
from portal.core.words import count
from portal.usage.models import ParkedEvent
from portal.usage.services import retry_parked

__all__ = ["BillingPeriodAdmin", "CostLineAdmin", "LedgerEntryAdmin", "ParkedEventAdmin", "PriceBookAdmin"]


class WithoutPriceFilter(admin.SimpleListFilter):
    title = "price"
    parameter_name = "price"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("none", "Without price"), ("some", "With price")]

    def queryset(self, _request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        chosen = self.value()
        return queryset if chosen is None else queryset.filter(rate__isnull=chosen == "none")


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = (
        *("request_id", "admitted", "tenant_name", "alias", "tokens_text", "charge", "gpu_seconds"),
        "price_state",
    )
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("period", RelatedDropdownFilter),
        ("source", ChoicesDropdownFilter),
        WithoutPriceFilter,
        ("ts", RangeDateTimeFilter),
    )
    list_select_related = ("rate", "period")
    search_fields = ("request_id", "key_id")
    search_help_text = "Request id or key id"
    show_full_result_count = False

    @display(description="Admitted (UTC)", ordering="ts")
    def admitted(self, obj: LedgerEntry) -> str:
        return f"{obj.ts:%Y-%m-%d %H:%M:%S}"

    @display(description="Tokens: input (cached) → output")
    def tokens_text(self, obj: LedgerEntry) -> str:
        return f"{obj.prompt_tokens:,} ({obj.cached_tokens:,}) → {obj.completion_tokens:,}"

    @display(description="Charge")
    def charge(self, obj: LedgerEntry) -> str:
        return money(obj.amount, obj.currency)

    @display(description="GPU-seconds", ordering="gpu_ns")
    def gpu_seconds(self, obj: LedgerEntry) -> str:
        return f"{obj.gpu_ns / 10**9:.3f}"

    @display(description="Price", label={"priced": "success", "without price": "warning"})
    def price_state(self, obj: LedgerEntry) -> str:
        return "without price" if obj.rate_id is None else "priced"


@admin.register(CostLine)
class CostLineAdmin(ReadOnlyAdmin):
    list_display = ("period", "worker_id", "kind", "tenant_text", "seconds", "amount_text")
    list_filter = (
        ("period", RelatedDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("tenant", AutocompleteSelectFilter),
    )
    list_select_related = ("tenant", "period")
    search_fields = ("worker_id",)

    @display(description="Tenant", ordering="tenant__name")
    def tenant_text(self, obj: CostLine) -> str:
        return obj.tenant.name if obj.tenant else "platform"

    @display(description="Seconds", ordering="ns")
    def seconds(self, obj: CostLine) -> str:
        return f"{obj.ns / 10**9:,.3f}"

    @display(description="Amount", ordering="amount")
    def amount_text(self, obj: CostLine) -> str:
        return money(obj.amount, obj.currency)


@admin.register(ParkedEvent)
class ParkedEventAdmin(ReadOnlyAdmin):
    list_display = ("parked_at", "stream", "entry_id", "code", "error_text")
    list_filter = ("code",)
    search_fields = ("entry_id", "error")
    fields = ("stream", "entry_id", "parked_at", "code", "error", "raw_text")
    readonly_fields = ("raw_text",)
    actions_list = ("retry_all",)

    @display(description="Why")
    def error_text(self, obj: ParkedEvent) -> str:
        return obj.error[:120]

    @display(description="As it was received")
    def raw_text(self, obj: ParkedEvent) -> str:
        return bytes(obj.raw).decode(errors="backslashreplace")

    def has_retry_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        return request.user.has_perm("usage.change_parkedevent")

    @action(description="Try all again", url_path="retry", permissions=["retry"], icon="refresh")
    def retry_all(self, request: HttpRequest) -> HttpResponse:
        back = reverse("admin:usage_parkedevent_changelist")
        parked = ParkedEvent.objects.all()
        if request.method == "POST":
            done = retry_parked(parked, now=clock.now())
            told = messages.success if done.parked == 0 else messages.warning
            told(request, f"{count(done.new, 'event')} taken in, {done.parked} still parked.")
            return HttpResponseRedirect(back)
        says = ("Those that can be read now become usage and are charged. The others stay parked.",)
        title = f"Try {count(parked.count(), 'parked event')} again?"
        return ask(self, request, Question(title=title, button="Try again", back=back, says=says))
