"""The tenant's page. Apps, keys and its other tabs have modules of their own."""

from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.datasets import BaseDataset
from unfold.enums import ActionVariant

from portal.adapters.inlines import AliasInline
from portal.core import clock
from portal.core.admin import ConsoleAdmin
from portal.core.decorators import action, display
from portal.core.pages import Question, ask
from portal.core.words import count
from portal.snapshots.admin import PublishingAdmin, publishing
from portal.tenants import selectors, services
from portal.tenants.app_pages import AppAdmin
from portal.tenants.configuration_pages import ConfigurationPages
from portal.tenants.forms import TenantForm
from portal.tenants.issuer_pages import TokenIssuerAdmin
from portal.tenants.key_pages import ApiKeyAdmin
from portal.tenants.limit_pages import LimitPages
from portal.tenants.limits import Effective, effective_limits
from portal.tenants.models import ApiKey, App, Tenant, TenantStatus, TokenIssuer
from portal.tenants.pii_pages import PiiPages

STATUS_LABELS = {"Active": "success", "Suspended": "danger"}


class TenantKeys(ApiKeyAdmin):
    """The keys of the tenant whose page it is on."""

    list_display = ("id_text", "app_name", "name", "state", "created", "expires")
    actions = None
    list_per_page = 20

    def get_queryset(self, request: HttpRequest) -> "QuerySet[ApiKey]":
        tenant_id = self.extra_context.get("object")
        keys: QuerySet[ApiKey] = super().get_queryset(request)
        return keys.filter(app__tenant=tenant_id) if tenant_id else keys.none()


class KeyDataset(BaseDataset):  # type: ignore[misc] # unfold publishes no types
    model = ApiKey
    model_admin = TenantKeys
    tab = True
    title = "API keys"


class AppInline(TabularInline):  # type: ignore[misc]
    model = App
    tab = True
    extra = 0
    per_page = 20
    fields = ("name", "created_at")
    readonly_fields = ("created_at",)
    show_change_link = True
    can_delete = False


@admin.register(Tenant)
class TenantAdmin(LimitPages, ConfigurationPages, PiiPages, PublishingAdmin, ConsoleAdmin):
    form = TenantForm
    list_display = ("name", "status_label", "tier", "service_class", "pool", "keys", "region")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("tier", AutocompleteSelectFilter),
        ("service_class", ChoicesDropdownFilter),
        ("pool", AutocompleteSelectFilter),
    )
    search_fields = ("name", "slug", "cost_centre")
    autocomplete_fields = ("tier", "pool")
    prepopulated_fields = {"slug": ("name",)}
    change_form_outer_before_template = "admin/tenants/tenant/usage.html"
    inlines = (AppInline, AliasInline)
    change_form_datasets = (KeyDataset,)
    actions_detail = ("new_key", "suspend", "reactivate")
    readonly_fields = ("status_label", "limits_in_force", "created_at")
    add_fieldsets = (
        (None, {"fields": (("name", "slug"), ("tier", "service_class"), ("pool", "billing_timezone"))}),
        ("Details", {"fields": (("region", "cost_centre"),)}),
    )
    fieldsets = (
        (
            None,
            {"fields": (("name", "slug"), ("status_label", "tier"), ("service_class", "pool"))},
        ),
        (
            "Limits",
            {
                "classes": ("tab",),
                "fields": (
                    "limits_in_force",
                    ("requests_per_minute", "tokens_per_minute"),
                    ("concurrency", "kv_budget_mib"),
                    ("daily_spend_limit", "monthly_spend_limit"),
                    ("context_tokens", "alert_percentages"),
                ),
            },
        ),
        (
            "Full pool",
            {
                "classes": ("tab",),
                "description": "Its place among others when the pool is full. Empty: as its tier.",
                "fields": (
                    ("weight", "queue_depth"),
                    ("queue_wait_seconds", "clamp_output"),
                ),
            },
        ),
        (
            "Details",
            {
                "classes": ("tab",),
                "fields": (
                    ("billing_timezone", "region"),
                    ("cost_centre", "workload_profile"),
                    ("ttft_objective_ms", "sla_penalty"),
                    ("beta", "created_at"),
                ),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Tenant]":
        if request.resolver_match and request.resolver_match.url_name == "tenants_tenant_changelist":
            return selectors.tenants_with_counts(clock.now())
        return Tenant.objects.select_related("tier", "pool")

    def get_inlines(self, request: HttpRequest, obj: Tenant | None) -> Any:
        return super().get_inlines(request, obj) if obj else ()

    def get_readonly_fields(self, _request: HttpRequest, obj: Tenant | None = None) -> Any:
        # Exports name tenants by their slug, so it stays as it was made.
        return (*self.readonly_fields, "slug") if obj else self.readonly_fields

    def get_prepopulated_fields(self, _request: HttpRequest, obj: Tenant | None = None) -> Any:
        return {} if obj else self.prepopulated_fields

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False  # its requests and ledger lines stay: suspend it

    @display(description="Status", ordering="status", label=STATUS_LABELS)
    def status_label(self, obj: Tenant) -> str:
        return str(TenantStatus(obj.status).label)

    @display(description="Usable keys", ordering="usable_keys")
    def keys(self, obj: Tenant) -> int:
        return obj.usable_keys  # type: ignore[attr-defined,no-any-return] # annotated by the selector

    @display(description="In force now (what is empty below comes from the tier)")
    def limits_in_force(self, obj: Tenant) -> SafeString:
        lines = [_limit_words(limit, obj) for limit in effective_limits(obj, obj.tier)]
        return format_html_join(
            "", '<div class="leading-loose"><strong>{}</strong>: {} <em>({})</em></div>', lines
        )

    def has_issue_key_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        return request.user.has_perm("tenants.add_apikey")

    @action(
        description="New API key",
        url_path="new-key",
        permissions=["issue_key"],
        icon="key",
        variant=ActionVariant.PRIMARY,
    )
    def new_key(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(f"{reverse('admin:tenants_apikey_add')}?tenant={object_id}")

    def has_suspend_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_change_permission(request) and _has_status(object_id, TenantStatus.ACTIVE)

    def has_reactivate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_change_permission(request) and _has_status(object_id, TenantStatus.SUSPENDED)

    @action(
        description="Suspend",
        url_path="suspend",
        permissions=["suspend"],
        icon="block",
        variant=ActionVariant.DANGER,
    )
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        tenant = Tenant.objects.get(pk=object_id)
        back = reverse("admin:tenants_tenant_change", args=[object_id])
        if request.method == "POST":
            with publishing(request):
                services.suspend(tenant)
            messages.success(request, f"{tenant.name} is suspended: its requests are refused from now on.")
            self.log_change(request, tenant, "Suspended.")
            return HttpResponseRedirect(back)
        found = selectors.reach(tenant=tenant, now=clock.now())
        says = (
            f"{count(found.apps, 'app')} of {tenant.name} with {count(found.keys, 'usable key')} "
            f"{'stops' if found.apps == 1 else 'stop'} working at once: every new request is refused.",
            "Requests that run already are finished and billed. Nothing is deleted: "
            "“Reactivate” lets the same keys work again.",
        )
        question = Question(
            title=f"Suspend {tenant.name}?",
            button=f"Suspend {tenant.name}",
            back=back,
            says=says,
            danger=True,
        )
        return ask(self, request, question)

    @action(
        description="Reactivate",
        url_path="reactivate",
        permissions=["reactivate"],
        icon="play_arrow",
        variant=ActionVariant.SUCCESS,
    )
    def reactivate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        tenant = Tenant.objects.get(pk=object_id)
        back = reverse("admin:tenants_tenant_change", args=[object_id])
        if request.method == "POST":
            with publishing(request):
                services.reactivate(tenant)
            messages.success(request, f"{tenant.name} is active again.")
            self.log_change(request, tenant, "Reactivated.")
            return HttpResponseRedirect(back)
        found = selectors.reach(tenant=tenant, now=clock.now())
        says = (f"{count(found.keys, 'key')} of {tenant.name} will work again at once.",)
        question = Question(title=f"Reactivate {tenant.name}?", button="Reactivate", back=back, says=says)
        return ask(self, request, question)


def _has_status(object_id: Any, status: TenantStatus) -> bool:
    """``object_id`` is a key in actions and an object elsewhere."""
    if object_id is None:
        return True
    return Tenant.objects.filter(pk=getattr(object_id, "pk", object_id), status=status).exists()


_LIMIT_NAMES = {
    "requests_per_minute": "Requests per minute",
    "tokens_per_minute": "Tokens per minute",
    "concurrency": "Requests at once",
    "kv_budget_mib": "KV cache (MiB)",
    "context_tokens": "Tokens per request",
    "daily_spend_limit": "Spend per day",
    "monthly_spend_limit": "Spend per month",
}


def _limit_words(limit: Effective, tenant: Tenant) -> tuple[str, str, str]:
    """(name, value, where it comes from)."""
    source = {
        "tenant": f"set here; {_tier_words(limit, tenant)}",
        "tier": f"from tier {tenant.tier}",
        "none": f"neither here nor in tier {tenant.tier}",
    }[limit.source]
    return _LIMIT_NAMES[limit.name], _amount(limit.value), source


def _tier_words(limit: Effective, tenant: Tenant) -> str:
    if limit.tier_value is None:
        return f"tier {tenant.tier} has none"
    return f"tier {tenant.tier} has {_amount(limit.tier_value)}"


def _amount(value: int | Decimal | None) -> str:
    if value is None:
        return "not limited"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


admin.site.register(App, AppAdmin)
admin.site.register(TokenIssuer, TokenIssuerAdmin)
