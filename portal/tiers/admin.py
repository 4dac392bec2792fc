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
                    "Empty: not limited. Money per calendar day and month of the tenant's billing zone."
                ),
                "fields": (
                    ("requests_per_minute", "tokens_per_minute"),
                    ("concurrency", "kv_budget_mib"),
                    ("daily_spend_limit", "monthly_spend_limit"),
                    "alert_percentages",
                ),
            },
        ),
        (
            "One request",
            {
                "fields": (
                    ("context_tokens", "max_output_tokens"),
                    ("request_timeout_seconds", "clamp_output"),
                )
            },
        ),
        (
            "Each end user",
            {
                "description": (
                    "Of those whom a tenant's app names, or the subjects of its tokens. What each spent is "
                    "counted in Redis alone: should it lose its data, their money starts at nothing again."
                ),
                "fields": (
                    ("end_user_requests_per_minute", "end_user_tokens_per_minute"),
                    "end_user_daily_spend_limit",
                ),
            },
        ),
        ("Full pool", {"fields": (("weight", "queue_depth"), "queue_wait_seconds")}),
        (
            "Personal data",
            {
                "description": "What is masked for its tenants that have no policy of their own.",
                "fields": ("pii_policy",),
            },
        ),
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
