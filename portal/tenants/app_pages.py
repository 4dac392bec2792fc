"""The apps' pages: what owns keys, and what its keys may use together."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant

from portal.core.admin import ConsoleAdmin
from portal.core.decorators import action, display
from portal.snapshots.admin import PublishingAdmin
from portal.tenants.forms import AppForm
from portal.tenants.limit_bars import KINDS
from portal.tenants.limits import NAMES
from portal.tenants.models import App

LIMIT_ROWS = (
    ("requests_per_minute", "tokens_per_minute"),
    ("concurrency", "kv_budget_mib"),
    ("daily_spend_limit", "monthly_spend_limit"),
    "context_tokens",
)
"""Limits of an app or key, as its page shows them."""


class AppAdmin(PublishingAdmin, ConsoleAdmin):
    form = AppForm
    list_display = ("name", "tenant", "own_limits", "created_at")
    search_fields = ("name", "tenant__name")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_select_related = ("tenant",)
    autocomplete_fields = ("tenant",)
    fieldsets = (
        (None, {"fields": ("tenant", "name")}),
        (
            "Limits of this app",
            {
                "description": (
                    "They hold over all its keys and tokens together, beside the tenant's. Empty: no limit "
                    "of its own. Money per calendar day and month of the tenant's billing zone."
                ),
                "fields": LIMIT_ROWS,
            },
        ),
    )
    actions_detail = ("new_key",)

    def get_readonly_fields(self, _request: HttpRequest, obj: App | None = None) -> tuple[str, ...]:
        return ("tenant",) if obj else ()  # its keys and usage stay with the tenant

    @display(description="Limits of its own", empty_value="none")
    def own_limits(self, obj: App) -> str | None:
        return (
            ", ".join(KINDS[name].label.lower() for name in NAMES if getattr(obj, name) is not None) or None
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
        return HttpResponseRedirect(f"{reverse('admin:tenants_apikey_add')}?app={object_id}")
