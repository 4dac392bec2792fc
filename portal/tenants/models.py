"""Tenants, their apps and the apps' API keys."""

import uuid
import zoneinfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from portal.core.names import validate_name
from portal.tiers.models import LimitFields, ServiceClass, Tier


def validate_timezone(value: str) -> None:
    if value not in zoneinfo.available_timezones():
        message = "Not an IANA time zone, such as Europe/Berlin."
        raise ValidationError(message, code="timezone_unknown")


class TenantStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"


class Tenant(LimitFields):
    """A customer. The limits here override the tier's where they are set."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, unique=True, validators=[validate_name])
    slug = models.SlugField(max_length=80, unique=True)
    status = models.CharField(max_length=20, choices=TenantStatus, default=TenantStatus.ACTIVE)
    tier = models.ForeignKey(Tier, on_delete=models.PROTECT, related_name="tenants")
    service_class = models.CharField(max_length=20, choices=ServiceClass, default=ServiceClass.SHARED)
    pool = models.ForeignKey(
        "fleet.Pool", on_delete=models.PROTECT, related_name="tenants", help_text="Where its requests run."
    )
    region = models.CharField("region or data boundary", max_length=60, blank=True)
    cost_centre = models.CharField(max_length=60, blank=True)
    billing_timezone = models.CharField(max_length=60, default="UTC", validators=[validate_timezone])
    ttft_objective_ms = models.PositiveIntegerField(
        "time-to-first-token objective (ms, p95)", null=True, blank=True, validators=[MinValueValidator(1)]
    )
    sla_penalty = models.DecimalField(
        "SLA penalty per month", max_digits=14, decimal_places=2, null=True, blank=True
    )
    workload_profile = models.CharField(
        max_length=20,
        choices=[("short_chat", "Short chat"), ("long_context", "Long context")],
        default="short_chat",
    )
    beta = models.BooleanField("takes beta versions", default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class App(models.Model):
    """A tenant's application, the owner of API keys."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="apps")
    name = models.CharField(max_length=120, validators=[validate_name])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["tenant__name", "name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="app_name_unique_in_tenant")]

    def __str__(self) -> str:
        return f"{self.tenant.name} / {self.name}"


class ApiKey(LimitFields):
    """``id`` is the public part of the key's text; of the whole key only the digest is kept."""

    id = models.CharField("key id", primary_key=True, max_length=12, editable=False)
    sha256 = models.CharField(max_length=64, unique=True, editable=False)
    app = models.ForeignKey(App, on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, editable=False, related_name="+"
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)
    replaced_by = models.OneToOneField(
        "self", null=True, on_delete=models.SET_NULL, editable=False, related_name="replaces"
    )

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def __str__(self) -> str:
        return f"sk-tn-{self.id}-…"
