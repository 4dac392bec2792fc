"""Tiers: what a tenant is promised, unless its own overrides say otherwise."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from portal.tiers.validators import default_percentages, validate_percentages, validate_pii_policy

MAX_WEIGHT = 1000
MAX_QUEUE_WAIT_SECONDS = 600


class ServiceClass(models.TextChoices):
    SHARED = "shared", "Shared"
    PREMIUM_SHARED = "premium_shared", "Premium shared"
    SEMI_ISOLATED = "semi_isolated", "Semi-isolated"
    DEDICATED = "dedicated", "Dedicated"


BANDS = {
    ServiceClass.DEDICATED: 0,
    ServiceClass.SEMI_ISOLATED: 1,
    ServiceClass.PREMIUM_SHARED: 2,
    ServiceClass.SHARED: 3,
}
"""A full pool admits the smallest band first; within one, tenants share by weight."""


class OutagePolicy(models.TextChoices):
    """What a gateway does while it cannot reach Redis. A spend limit never fails open."""

    REFUSE = "refuse", "Refuse requests"
    ALLOWANCE = "allowance", "Small local allowance (tenants without a spend limit)"


def money_limit(name: str) -> "models.DecimalField[Decimal | None, Decimal | None]":
    """An amount with at most six decimals, so that it is exact in micro-currency."""
    return models.DecimalField(
        name,
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
    )


class LimitFields(models.Model):
    """Empty means: not limited here. Money per calendar day and month in the tenant's billing zone."""

    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    concurrency = models.PositiveIntegerField(
        "requests at once", null=True, blank=True, validators=[MinValueValidator(1)]
    )
    kv_budget_mib = models.PositiveIntegerField(
        "KV cache (MiB)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="For its requests in flight, as projected from prompt and output tokens.",
    )
    context_tokens = models.PositiveIntegerField(
        "tokens per request",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Prompt and output together.",
    )
    daily_spend_limit = money_limit("daily spend limit")
    monthly_spend_limit = money_limit("monthly spend limit")

    class Meta:
        abstract = True


class Tier(LimitFields):
    """``end_user_*`` hold for each end user of a tenant's app, ``pii_policy`` where the tenant has none."""

    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    description = models.CharField(max_length=300, blank=True)
    max_output_tokens = models.PositiveIntegerField(
        "output tokens per request", default=1024, validators=[MinValueValidator(1)]
    )
    clamp_output = models.BooleanField(
        "shorten the output to what fits",
        default=False,
        help_text="When only the longest possible output would not fit a limit. Otherwise it is refused.",
    )
    request_timeout_seconds = models.PositiveIntegerField(
        "request timeout (s)", default=120, validators=[MinValueValidator(1)]
    )
    weight = models.PositiveIntegerField(
        "share of a full pool",
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_WEIGHT)],
        help_text="Against other tenants of the same service class: 2 gets twice as many tokens as 1.",
    )
    queue_depth = models.PositiveIntegerField(
        "requests that may wait", default=32, help_text="Per tenant, while its pool is full. 0: none waits."
    )
    queue_wait_seconds = models.PositiveIntegerField(
        "longest wait (s)", default=10, validators=[MaxValueValidator(MAX_QUEUE_WAIT_SECONDS)]
    )
    end_user_requests_per_minute = models.PositiveIntegerField(
        "requests per minute and end user", null=True, blank=True, validators=[MinValueValidator(1)]
    )
    end_user_tokens_per_minute = models.PositiveIntegerField(
        "tokens per minute and end user", null=True, blank=True, validators=[MinValueValidator(1)]
    )
    end_user_daily_spend_limit = money_limit("daily spend limit per end user")
    pii_policy = models.JSONField(
        "PII policy",
        null=True,
        blank=True,
        validators=[validate_pii_policy],
        help_text="Empty masks nothing.",
    )
    alert_percentages = models.JSONField(
        "budget alerts (%)",
        default=default_percentages,
        blank=True,
        validators=[validate_percentages],
        help_text="Of a daily or monthly spend limit.",
    )
    outage_policy = models.CharField(max_length=20, choices=OutagePolicy, default=OutagePolicy.REFUSE)
    outage_requests_per_minute = models.PositiveIntegerField(
        default=6, help_text="Per gateway process while Redis is away, if the policy is an allowance."
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
