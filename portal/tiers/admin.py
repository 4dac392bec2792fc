from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from portal.core.admin import ConsoleAdmin
from portal.core.decorators import display
from portal.core.words import count
from portal.snapshots.admin import PublishingAdmin
from portal.tiers.forms import TierForm
from portal.tiers.models import Tier


@admin.register(Tier)
class TierAdmin(PublishingAdmin, ConsoleAdmin):
    form = TierForm
    list_display = (
        "name",
        "tenants_text",
        "requests_per_minute",
        "tokens_per_minute",
        "concurrency",
        "money",
    )
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}
    fieldsets = (
        (None, {"fields": ("name", "slug", "description")}),
        (
            "Limits",
            {
                "description": (
                    "They hold for every tenant of this tier that has no limit of its own. "
                    "Empty: not limited. Money per calendar month."
                ),
                "fields": (
                    ("requests_per_minute", "tokens_per_minute"),
                    ("concurrency", "monthly_spend_limit"),
                ),
            },
        ),
        ("One request", {"fields": (("max_output_tokens", "request_timeout_seconds"),)}),
        (
            "While Redis is away",
            {
                "description": "Limits cannot be counted then. Tenants with a spend limit are refused.",
                "fields": (("outage_policy", "outage_requests_per_minute"),),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Tier]":
        queryset: QuerySet[Tier] = super().get_queryset(request)
        return queryset.annotate(tenant_count=Count("tenants"))

    @display(description="Tenants", ordering="tenant_count")
    def tenants_text(self, obj: Any) -> str:
        return count(obj.tenant_count, "tenant")

    @display(description="Spend per month", ordering="monthly_spend_limit")
    def money(self, obj: Tier) -> str:
        return "not limited" if obj.monthly_spend_limit is None else f"{obj.monthly_spend_limit:,.2f}"
