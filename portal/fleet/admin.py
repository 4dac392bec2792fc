"""Pools, node rates, and the workers and gateways that were seen."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from portal.core import clock
from portal.core.admin import ConsoleAdmin, ReadOnlyAdmin
from portal.core.decorators import display
from portal.core.words import count
from portal.fleet import selectors
from portal.fleet.forms import NodeRateForm, PoolForm
from portal.fleet.models import GatewayProcess, NodeRate, Pool, Worker
from portal.fleet.queue_pages import QueuePages
from portal.fleet.trouble_pages import TroublePages
from portal.snapshots.admin import PublishingAdmin

LEVELS = {"up to date": "success", "behind": "warning", "empty": "danger", "gone": "default"}
SOURCES = {"redis": "Redis", "disk": "disk (last good one)", "none": "nowhere"}
WORKER_LABELS = {"ready": "success", "starting": "info", "draining": "warning", "gone": "danger"}


@admin.register(Pool)
class PoolAdmin(QueuePages, PublishingAdmin, ConsoleAdmin):
    form = PoolForm
    list_display = ("name", "base_model", "tenants_text", "workers_text", "max_model_len", "max_lora_rank")
    search_fields = ("name", "base_model")
    actions_detail = ("open_queue",)
    fieldsets = (
        (None, {"fields": ("name", ("base_model", "model"), "endpoints")}),
        (
            "Engine",
            {
                "description": "Workers take changes at their next start.",
                "fields": (
                    ("max_model_len", "max_num_seqs"),
                    ("max_num_batched_tokens", "kv_cache_gib"),
                    "enforce_eager",
                ),
            },
        ),
        (
            "Admission",
            {
                "description": "How many requests gateways let in at once; the others wait there, fairly.",
                "fields": (("seqs_in_flight", "tokens_in_flight"), "kv_bytes_per_token"),
            },
        ),
        ("Adapters", {"fields": (("max_loras", "max_cpu_loras"), "max_lora_rank")}),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Pool]":
        queryset: QuerySet[Pool] = super().get_queryset(request)
        return queryset.annotate(
            tenant_count=Count("tenants", distinct=True), worker_count=Count("workers", distinct=True)
        )

    def get_readonly_fields(self, _request: HttpRequest, obj: Pool | None = None) -> tuple[str, ...]:
        return ("name",) if obj else ()  # workers are started with it

    def save_model(self, request: HttpRequest, obj: Pool, form: Any, change: bool) -> None:  # noqa: FBT001
        super().save_model(request, obj, form, change)
        if change and form.changed_data:
            messages.warning(request, f"Workers of {obj.name} take this at their next start.")

    @display(description="Tenants", ordering="tenant_count")
    def tenants_text(self, obj: Any) -> str:
        return count(obj.tenant_count, "tenant")

    @display(description="Workers seen", ordering="worker_count")
    def workers_text(self, obj: Any) -> str:
        return count(obj.worker_count, "worker")


@admin.register(NodeRate)
class NodeRateAdmin(ConsoleAdmin):
    form = NodeRateForm
    list_display = ("pool", "rate_text", "effective_from", "state")
    list_filter = (("pool", AutocompleteSelectFilter),)
    list_select_related = ("pool",)
    autocomplete_fields = ("pool",)
    fields = ("pool", ("hourly_rate", "currency"), "effective_from")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        form = super().get_form(request, obj, change, **kwargs)
        form.now = clock.now()
        return form

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(super().has_change_permission(request, obj)) and not _has_begun(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Without an object Django asks for deleting from the list, where rates that have begun stand too.
        allowed = bool(super().has_delete_permission(request, obj))
        return allowed and isinstance(obj, NodeRate) and not _has_begun(obj)

    @display(description="Price", ordering="hourly_rate")
    def rate_text(self, obj: NodeRate) -> str:
        return f"{obj.hourly_rate.normalize():f} {obj.currency} per worker and hour"

    @display(description="State", label={"in force or past": "default", "to come": "info"})
    def state(self, obj: NodeRate) -> str:
        return "in force or past" if _has_begun(obj) else "to come"


def _has_begun(rate: Any) -> bool:
    return isinstance(rate, NodeRate) and rate.effective_from <= clock.now()


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("id", "pool", "state_label", "adapters_text", "device", "seen")
    list_filter = (("pool", AutocompleteSelectFilter),)
    list_select_related = ("pool",)
    search_fields = ("id", "device")
    fields = (
        ("id", "pool"),
        ("state_label", "seen"),
        ("url", "device"),
        ("max_num_seqs", "kv_cache_tokens"),
        ("vllm_version", "started_at"),
        "adapters_list",
        "boot_id",
    )

    @display(description="State", label=WORKER_LABELS)
    def state_label(self, obj: Worker) -> str:
        return obj.state if selectors.is_alive(obj.seen_at, clock.now()) else "gone"

    @display(description="Resident adapters")
    def adapters_text(self, obj: Worker) -> str:
        return count(len(obj.adapters), "adapter")

    @display(description="Resident adapters")
    def adapters_list(self, obj: Worker) -> str:
        return ", ".join(f"{digest[:12]}…" for digest in obj.adapters) or "none"

    @display(description="Seen", ordering="seen_at")
    def seen(self, obj: Worker) -> str:
        return selectors.seen_ago(obj.seen_at, clock.now())


@admin.register(GatewayProcess)
class GatewayProcessAdmin(TroublePages, ReadOnlyAdmin):
    list_display = ("name", "level", "serves", "seen", "source", "spooled_events", "started_at")
    search_fields = ("id", "host")
    fields = (
        ("name", "level"),
        "serves",
        ("url", "seen"),
        ("source", "snapshot_loaded_at"),
        ("spooled_events", "started_at"),
    )

    def get_queryset(self, _request: HttpRequest) -> "QuerySet[GatewayProcess]":
        return selectors.gateways_with_lag()

    @display(description="Process", ordering="host")
    def name(self, obj: GatewayProcess) -> str:
        return f"{obj.host}, process {obj.pid}"

    @display(description="Configuration", ordering="snapshot_version")
    def serves(self, obj: Any) -> str:
        return self._serving(obj).text

    @display(description="State", label=LEVELS)
    def level(self, obj: Any) -> str:
        return self._serving(obj).state

    @staticmethod
    def _serving(obj: Any) -> selectors.Serving:
        return selectors.serving(
            obj, newest=obj.newest_version, behind_since=obj.behind_since, now=clock.now()
        )

    @display(description="Seen", ordering="seen_at")
    def seen(self, obj: GatewayProcess) -> str:
        alive = selectors.is_alive(obj.seen_at, clock.now())
        ago = selectors.seen_ago(obj.seen_at, clock.now())
        return ago if alive else f"gone, last seen {ago}"

    @display(description="Loaded from", ordering="snapshot_source")
    def source(self, obj: GatewayProcess) -> str:
        return SOURCES.get(obj.snapshot_source, obj.snapshot_source)
