"""Tiers: what a tenant is promised, unless its own overrides say otherwise."""

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models


class ServiceClass(models.TextChoices):
    SHARED = "shared", "Shared"
    PREMIUM_SHARED = "premium_shared", "Premium shared"
    SEMI_ISOLATED = "semi_isolated", "Semi-isolated"
    DEDICATED = "dedicated", "Dedicated"


class OutagePolicy(models.TextChoices):
    """What a gateway does while it cannot reach Redis. A spend limit never fails open."""

    REFUSE = "refuse", "Refuse requests"
    ALLOWANCE = "allowance", "Small local allowance (tenants without a spend limit)"


class LimitFields(models.Model):
    """Empty means: not limited here. Money per calendar month in the tenant's billing zone."""

    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    concurrency = models.PositiveIntegerField(
        "requests at once", null=True, blank=True, validators=[MinValueValidator(1)]
    )
    monthly_spend_limit = models.DecimalField(
        max_digits=14, decimal_places=6, null=True, blank=True, validators=[MinValueValidator(Decimal(0))]
    )

    class Meta:
        abstract = True


class Tier(LimitFields):
    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    description = models.CharField(max_length=300, blank=True)
    max_output_tokens = models.PositiveIntegerField(
        "output tokens per request", default=1024, validators=[MinValueValidator(1)]
    )
    request_timeout_seconds = models.PositiveIntegerField(
        "request timeout (s)", default=120, validators=[MinValueValidator(1)]
    )
    outage_policy = models.CharField(max_length=20, choices=OutagePolicy, default=OutagePolicy.REFUSE)
    outage_requests_per_minute = models.PositiveIntegerField(
        default=6, help_text="Per gateway process while Redis is away, if the policy is an allowance."
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
