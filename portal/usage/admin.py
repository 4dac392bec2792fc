"""Requests and what the engines and workers reported: read-only, by name, and never counted as a whole."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList as DjangoChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import FieldTextFilter, RangeDateTimeFilter
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from portal.core import wording
from portal.core.admin import ReadOnlyAdmin
from portal.core.decorators import display
from portal.usage.explain import explain, facts_of, utc
from portal.usage.filters import (
    AliasFilter,
    AppFilter,
    CopiesFilter,
    EngineCopiesFilter,
    OutcomeFilter,
    PeriodFilter,
    ReasonFilter,
    TenantFilter,
)
from portal.usage.models import EngineUsage, GatewayUsage, WorkerTime
from portal.usage.selectors import app_names, tenant_names

OUTCOME_LABELS = {
    "Completed": "success",
    "Rejected": "warning",
    "Client hung up": "info",
    "Upstream error": "danger",
    "Timeout": "danger",
    "Gateway error": "danger",
}
NO_ID = UUID(int=0)
MONEY = frozenset({"reserved_micro", "rate_id"})
"""What a gateway's event says about money."""


class NamedChangeList(ChangeList):  # type: ignore[misc] # unfold publishes no types
    """Gives the page's rows their tenants' and apps' names: two queries a page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(getattr(self, "result_list", ()))
        tenants = tenant_names(getattr(row, "tenant_id", None) for row in rows)
        apps = app_names(getattr(row, "app_id", None) for row in rows)
        for row in rows:
            row.tenant_name = tenants.get(row.tenant_id or NO_ID)
            row.app_name = apps.get(getattr(row, "app_id", NO_ID) or NO_ID)
        self.result_list = rows


class EventAdmin(ReadOnlyAdmin):
    """``payload`` stays in the database until one event's page is opened."""

    paginator = InfinitePaginator
    ordering = ("-ts",)
    list_per_page = 50
    show_full_result_count = False
    actions = None

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        queryset: QuerySet[Any] = super().get_queryset(request)
        return queryset.defer("payload")

    def get_ordering(self, _request: HttpRequest) -> tuple[str, ...]:
        return ("-ts", "-pk")

    @display(description="Time (UTC)", ordering="ts")
    def at(self, obj: Any) -> str:
        return f"{obj.ts:%d %b %H:%M:%S}"

    @display(description="Raw event")
    def raw(self, obj: Any) -> str:
        return json.dumps(obj.payload, indent=2, sort_keys=True)


@admin.register(GatewayUsage)
class GatewayUsageAdmin(EventAdmin):
    list_display = ("at", "tenant", "app", "alias", "result", "ttft", "took", "tokens")
    list_filter = (
        PeriodFilter,
        ("ts", RangeDateTimeFilter),
        TenantFilter,
        AppFilter,
        AliasFilter,
        OutcomeFilter,
        ReasonFilter,
        CopiesFilter,
    )
    search_fields = ("request_id",)
    search_help_text = "Beginning of a request id, or a key's id"
    fields: tuple[str, ...] = ()
    change_form_template = "admin/usage/gatewayusage/change_form.html"

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[DjangoChangeList]:
        return NamedChangeList

    def get_search_results(
        self, _request: HttpRequest, queryset: "QuerySet[GatewayUsage]", search_term: str
    ) -> tuple["QuerySet[GatewayUsage]", bool]:
        """From the beginning of an id only: an index answers that, whatever the number of rows."""
        term = search_term.strip().removeprefix("sk-tn-")
        if not term:
            return queryset, False
        found = Q(request_id__startswith=term) | Q(key_id=_key_id(term))
        return queryset.filter(found), False

    @display(description="Tenant")
    def tenant(self, obj: Any) -> str:
        return obj.tenant_name or ("not identified" if obj.tenant_id is None else "a tenant that is gone")

    @display(description="App")
    def app(self, obj: Any) -> str:
        return obj.app_name or "—"

    @display(description="Outcome", label=OUTCOME_LABELS)
    def outcome_label(self, obj: Any) -> str:
        return outcome_words(obj.outcome)

    @display(description="Outcome", ordering="outcome", label=OUTCOME_LABELS)
    def result(self, obj: Any) -> tuple[str, str] | str:
        words = outcome_words(obj.outcome)
        return (words, f"{words} · {obj.reason}") if obj.reason else words

    @display(description="First token", ordering="ttft_us")
    def ttft(self, obj: GatewayUsage) -> str:
        return wording.latency(obj.ttft_us).text

    @display(description="In all", ordering="duration_us")
    def took(self, obj: GatewayUsage) -> str:
        return wording.latency(obj.duration_us).text

    @display(description="Tokens in + out")
    def tokens(self, obj: GatewayUsage) -> str:
        if obj.prompt_tokens is None:
            return "—"
        return f"{obj.prompt_tokens:,} + {obj.completion_tokens or 0:,}"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """By event id, or by the request's own id, which is what people have."""
        event = GatewayUsage.objects.filter(request_id=object_id).values_list("pk", flat=True).first()
        key = event or object_id
        obj = self.get_object(request, key)
        context = dict(extra_context or {})
        if obj is not None and self.has_view_permission(request, obj):
            facts = facts_of(obj)
            context |= {
                "explanation": explain(facts, request.user),
                "at": utc(obj.ts),
                "tenant_name": tenant_names([obj.tenant_id]).get(obj.tenant_id or NO_ID),
                "raw_gateway": self._raw_gateway(obj, request),
                "raw_engine": self._raw_engine(facts.engine, request),
                "title": f"Request {obj.request_id}",
            }
        page: HttpResponse = super().change_view(request, key, form_url, context)
        return page

    def _raw_gateway(self, obj: GatewayUsage, request: HttpRequest) -> str:
        if request.user.has_perm("billing.view_ledgerentry"):
            return self.raw(obj)
        payload = obj.payload if isinstance(obj.payload, dict) else {}
        shown = {name: value for name, value in payload.items() if name not in MONEY}
        return json.dumps(shown, indent=2, sort_keys=True)

    def _raw_engine(self, engine: EngineUsage | None, request: HttpRequest) -> str:
        may = request.user.has_perm("usage.view_engineusage")
        return self.raw(engine) if engine is not None and may else ""


def outcome_words(outcome: str) -> str:
    return "Client hung up" if outcome == "disconnected" else outcome.replace("_", " ").capitalize()


@admin.register(EngineUsage)
class EngineUsageAdmin(EventAdmin):
    list_display = ("at", "tenant", "worker_id", "finish_reason", "tokens", "cached_tokens", "gpu", "waited")
    list_filter = (
        PeriodFilter,
        ("ts", RangeDateTimeFilter),
        TenantFilter,
        ("worker_id", FieldTextFilter),
        EngineCopiesFilter,
    )
    search_fields = ("request_id",)
    search_help_text = "Beginning of a request id"
    fields = (
        *(
            "request_id",
            "attempt",
            "worker_id",
            "boot_id",
            "shadow",
            "finish_reason",
            "ts",
            "finished_at",
            "prompt_tokens",
        ),
        *("cached_tokens", "completion_tokens", "gpu", "waited", "raw"),
    )
    readonly_fields = ("gpu", "waited", "raw")

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[DjangoChangeList]:
        return NamedChangeList

    def get_search_results(
        self, _request: HttpRequest, queryset: "QuerySet[EngineUsage]", search_term: str
    ) -> tuple["QuerySet[EngineUsage]", bool]:
        term = search_term.strip()
        return (queryset.filter(request_id__startswith=term) if term else queryset), False

    @display(description="Tenant")
    def tenant(self, obj: Any) -> str:
        return obj.tenant_name or "a tenant that is gone"

    @display(description="Tokens in + out")
    def tokens(self, obj: EngineUsage) -> str:
        return f"{obj.prompt_tokens:,} + {obj.completion_tokens:,}"

    @display(description="GPU time")
    def gpu(self, obj: EngineUsage) -> str:
        return wording.latency((obj.prefill_ns + obj.decode_ns) / 1000).text

    @display(description="Waited")
    def waited(self, obj: EngineUsage) -> str:
        return wording.latency(obj.queue_ns / 1000).text


@admin.register(WorkerTime)
class WorkerTimeAdmin(EventAdmin):
    list_display = ("at", "worker_id", "length", "busy", "startup", "share")
    list_filter = (PeriodFilter, ("ts", RangeDateTimeFilter), ("worker_id", FieldTextFilter))
    fields = ("worker_id", "boot_id", "pool_id", "ts", "end", "busy", "startup", "share", "raw")
    readonly_fields = ("busy", "startup", "share", "raw")

    @display(description="Length")
    def length(self, obj: WorkerTime) -> str:
        return f"{(obj.end - obj.ts).total_seconds():,.1f} s"

    @display(description="Busy")
    def busy(self, obj: WorkerTime) -> str:
        return wording.seconds(obj.busy_ns).text

    @display(description="Start-up")
    def startup(self, obj: WorkerTime) -> str:
        return wording.seconds(obj.startup_ns).text

    @display(description="Busy share")
    def share(self, obj: WorkerTime) -> str:
        whole = (obj.end - obj.ts).total_seconds()
        return f"{obj.busy_ns / 1e7 / whole:.0f} %" if whole else "—"


def _key_id(term: str) -> str:
    """Of a key's text its id; the name that stands for a token issuer is its own."""
    return term if term.startswith("jwt-") else term.partition("-")[0]
