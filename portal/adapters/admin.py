"""The pages of adapters, their versions and the aliases that lead to them."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant

from portal.adapters import selectors, services
from portal.adapters.errors import AdapterError
from portal.adapters.forms import AliasForm, VersionForm
from portal.adapters.models import Adapter, AdapterVersion, Alias
from portal.adapters.rollout_pages import RolloutPages, rollout_words
from portal.core import clock
from portal.core.admin import ConsoleAdmin, ReadOnlyAdmin
from portal.core.decorators import action, display
from portal.core.pages import Question, ask
from portal.core.words import count, plain
from portal.snapshots.admin import PublishingAdmin


class VersionInline(TabularInline):  # type: ignore[misc] # unfold publishes no types
    model = AdapterVersion
    fields = ("number", "rank", "base_model", "note", "created_at")
    readonly_fields = fields
    extra = 0
    per_page = 20
    can_delete = False
    show_change_link = True
    ordering = ("-number",)

    def has_add_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False


@admin.register(Adapter)
class AdapterAdmin(ConsoleAdmin):
    list_display = ("name", "tenant", "versions_text", "aliases_text", "description")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("name", "tenant__name", "description")
    autocomplete_fields = ("tenant",)
    fields = (("tenant", "name"), "description")
    inlines = (VersionInline,)
    actions_detail = ("add_version",)

    def get_queryset(self, _request: HttpRequest) -> "QuerySet[Adapter]":
        return selectors.adapters_with_counts()

    def get_inlines(self, request: HttpRequest, obj: Adapter | None) -> Any:
        return super().get_inlines(request, obj) if obj else ()

    def get_readonly_fields(self, _request: HttpRequest, obj: Adapter | None = None) -> tuple[str, ...]:
        return ("tenant", "name") if obj else ()

    @display(description="Versions", ordering="newest")
    def versions_text(self, obj: Any) -> str:
        return (
            f"{count(obj.version_count, 'version')}, newest {obj.newest}" if obj.version_count else "none yet"
        )

    @display(description="Used by", ordering="alias_count")
    def aliases_text(self, obj: Any) -> str:
        return count(obj.alias_count, "alias", "aliases") if obj.alias_count else "nobody"

    def has_add_version_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        return request.user.has_perm("adapters.add_adapterversion")

    @action(
        description="Add version",
        url_path="add-version",
        permissions=["add_version"],
        icon="upload",
        variant=ActionVariant.PRIMARY,
    )
    def add_version(self, request: HttpRequest, object_id: str) -> HttpResponse:
        adapter = get_object_or_404(Adapter.objects.select_related("tenant__pool"), pk=object_id)
        form = VersionForm(request.POST or None, request.FILES or None, initial={"pool": adapter.tenant.pool})
        if form.is_valid():
            try:
                version = services.register_version(
                    adapter=adapter,
                    source=form.source(),
                    user=request.user,  # type: ignore[arg-type] # the console lets nobody else in
                    now=clock.now(),
                    note=form.cleaned_data["note"],
                    pool=form.cleaned_data["pool"],
                )
            except AdapterError as error:
                form.add_error(None, error.message)
            else:
                self.log_change(request, adapter, f"Version {version.number} added.")
                messages.success(request, f"{version} passed every check and is stored.")
                return HttpResponseRedirect(
                    reverse("admin:adapters_adapterversion_change", args=[version.pk])
                )
        question = Question(
            title=f"Add a version to {adapter}",
            button="Check and add",
            back=reverse("admin:adapters_adapter_change", args=[object_id]),
            says=(
                "A LoRA adapter as PEFT saves it. It is checked first: safetensors only, the right base "
                "model, rank and shapes. What passes is stored under its content's digest and never changes.",
            ),
            form=form,
        )
        return ask(self, request, question, status=422 if form.errors else 200)


@admin.register(AdapterVersion)
class AdapterVersionAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "rank", "base_model", "dtype", "size", "created_at")
    list_filter = (("adapter__tenant", AutocompleteSelectFilter),)
    list_select_related = ("adapter__tenant",)
    search_fields = ("adapter__name", "adapter__tenant__name", "digest")
    search_help_text = "Adapter, tenant or digest"
    fields = (
        ("adapter", "number"),
        "checks_text",
        ("rank", "dtype"),
        ("base_model", "modules"),
        ("size", "used_by"),
        "digest_text",
        "note",
        ("created_at", "created_by"),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[AdapterVersion]":
        queryset: QuerySet[AdapterVersion] = super().get_queryset(request)
        return queryset.select_related("adapter__tenant", "created_by")

    @display(description="Size", ordering="size_bytes")
    def size(self, obj: AdapterVersion) -> str:
        return filesizeformat(obj.size_bytes)

    @display(description="Content (SHA-256)")
    def digest_text(self, obj: AdapterVersion) -> SafeString:
        return format_html('<span style="overflow-wrap: anywhere">{}</span>', obj.digest)

    @display(description="Target modules")
    def modules(self, obj: AdapterVersion) -> str:
        return ", ".join(obj.target_modules)

    @display(description="Checks")
    def checks_text(self, obj: AdapterVersion) -> SafeString:
        return format_html_join(
            "",
            '<div class="leading-loose" style="overflow-wrap: anywhere">✓ {}</div>',
            ((line,) for line in obj.checks),
        )

    @display(description="Used by")
    def used_by(self, obj: AdapterVersion) -> str:
        return ", ".join(obj.aliases.values_list("name", flat=True)) or "no alias yet"


@admin.register(Alias)
class AliasAdmin(RolloutPages, PublishingAdmin, ConsoleAdmin):
    form = AliasForm
    list_display = ("name", "tenant", "leads_to", "runs_on")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_select_related = ("tenant__pool", "version__adapter__tenant", "pool")
    search_fields = ("name", "tenant__name")
    autocomplete_fields = ("tenant", "pool")
    fields = (("tenant", "name"), ("version", "pool"), "serves")
    actions_detail = ("rollout", "promote")

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """A known tenant has few versions to choose from; all tenants together have too many for a list."""
        known = request.resolver_match is not None and "object_id" in request.resolver_match.kwargs
        return self.autocomplete_fields if known else (*self.autocomplete_fields, "version")

    def get_readonly_fields(self, _request: HttpRequest, obj: Alias | None = None) -> tuple[str, ...]:
        return ("tenant", "serves") if obj else ("serves",)

    @display(description="Who gets what")
    def serves(self, obj: Alias) -> str:
        return (
            " ".join(rollout_words(obj)) if obj.pk else "Canary, beta and fallback are set once it is saved."
        )

    @display(description="Leads to", ordering="version__adapter__name")
    def leads_to(self, obj: Alias) -> str:
        if obj.version is None:
            return f"base model {(obj.pool or obj.tenant.pool).base_model}"
        canary = f", {plain(obj.canary_percent)} % canary" if obj.canary_percent else ""
        return f"{obj.version.adapter.name} v{obj.version.number}{canary}"

    @display(description="Runs on", ordering="pool__name")
    def runs_on(self, obj: Alias) -> str:
        return obj.pool.name if obj.pool else f"{obj.tenant.pool.name} (the tenant's pool)"
