"""Tenants, their apps, the apps' API keys, who signs their tokens, and their configuration's versions."""

import uuid
import zoneinfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from portal.core.names import validate_name
from portal.tenants.validators import (
    validate_algorithms,
    validate_alias_names,
    validate_content,
    validate_jwks,
    validate_networks,
)
from portal.tiers.models import MAX_QUEUE_WAIT_SECONDS, MAX_WEIGHT, LimitFields, ServiceClass, Tier
from portal.tiers.validators import validate_percentages


def validate_timezone(value: str) -> None:
    if value not in zoneinfo.available_timezones():
        message = "Not an IANA time zone, such as Europe/Berlin."
        raise ValidationError(message, code="timezone_unknown")


class TenantStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"


class Tenant(LimitFields):
    """A customer. The limits, and its place in a full pool, override the tier's where they are set."""

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
    weight = models.PositiveIntegerField(
        "share of a full pool",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_WEIGHT)],
    )
    queue_depth = models.PositiveIntegerField("requests that may wait", null=True, blank=True)
    queue_wait_seconds = models.PositiveIntegerField(
        "longest wait (s)", null=True, blank=True, validators=[MaxValueValidator(MAX_QUEUE_WAIT_SECONDS)]
    )
    clamp_output = models.BooleanField("shorten the output to what fits", null=True, blank=True)
    alert_percentages = models.JSONField(
        "budget alerts (%)",
        null=True,
        blank=True,
        validators=[validate_percentages],
        help_text="Empty: as its tier.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class App(LimitFields):
    """A tenant's application, the owner of API keys. Its limits hold over all its keys and tokens."""

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
    aliases = models.JSONField(
        "models",
        null=True,
        blank=True,
        validators=[validate_alias_names],
        help_text="Names of the aliases that it may use. Empty: all of the tenant's.",
    )
    ip_ranges = models.JSONField(
        "IP ranges",
        default=list,
        blank=True,
        validators=[validate_networks],
        help_text="Networks such as 192.0.2.0/24, from which it may be used. Empty: from anywhere.",
    )
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


class RaisableLimit(models.TextChoices):
    """``LimitFields`` by name; all but the prices of one request."""

    REQUESTS_PER_MINUTE = "requests_per_minute", "Requests per minute"
    TOKENS_PER_MINUTE = "tokens_per_minute", "Tokens per minute"
    CONCURRENCY = "concurrency", "Requests at once"
    KV_BUDGET_MIB = "kv_budget_mib", "KV cache (MiB)"
    CONTEXT_TOKENS = "context_tokens", "Tokens per request"
    DAILY_SPEND_LIMIT = "daily_spend_limit", "Daily spend limit"
    MONTHLY_SPEND_LIMIT = "monthly_spend_limit", "Monthly spend limit"


class LimitRaise(models.Model):
    """A limit of a tenant that is higher in ``[starts_at, until)``. Rows stay: they are the audit."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="raises")
    limit = models.CharField(max_length=30, choices=RaisableLimit)
    value = models.DecimalField(max_digits=16, decimal_places=6)
    starts_at = models.DateTimeField()
    until = models.DateTimeField()
    reason = models.CharField(max_length=300)
    created_at = models.DateTimeField(editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, editable=False, related_name="+"
    )
    ended_early_at = models.DateTimeField(null=True, editable=False)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, editable=False, related_name="+"
    )

    class Meta:
        ordering = ["-starts_at"]
        verbose_name = "temporary raise"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(until__gt=models.F("starts_at")), name="raise_has_length"
            ),
            models.CheckConstraint(condition=models.Q(value__gt=0), name="raise_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant.name}: {self.get_limit_display()} {self.value.normalize():f}"


class TokenIssuer(LimitFields):
    """Who signs tokens (JWT) for a tenant. Its limits hold for all its tokens together.

    ``jwks`` are public keys; shared secrets stand sealed in ``sealed_secrets``, the newest first.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="issuers")
    app = models.ForeignKey(
        App, on_delete=models.PROTECT, related_name="issuers", help_text="Of tokens that name no app."
    )
    name = models.CharField(max_length=120, validators=[validate_name])
    issuer = models.CharField("issuer (iss)", max_length=300)
    audience = models.CharField("audience (aud)", max_length=300)
    algorithms = models.JSONField(validators=[validate_algorithms])
    jwks = models.JSONField("public keys (JWK)", default=list, blank=True, validators=[validate_jwks])
    jwks_url = models.URLField(
        "address of the public keys", max_length=500, blank=True, help_text="Read every few minutes."
    )
    jwks_fetched_at = models.DateTimeField(null=True, editable=False)
    jwks_checked_at = models.DateTimeField(null=True, editable=False)
    jwks_error = models.CharField(max_length=300, blank=True, editable=False)
    sealed_secrets = models.JSONField(default=list, blank=True, editable=False)
    leeway_seconds = models.PositiveIntegerField(
        "clock skew (s)", default=30, validators=[MaxValueValidator(300)]
    )
    max_age_seconds = models.PositiveIntegerField(
        "greatest age (s)", default=3600, validators=[MinValueValidator(1), MaxValueValidator(7 * 86_400)]
    )
    claim_tenant = models.CharField("claim with the tenant", max_length=120, blank=True)
    claim_app = models.CharField("claim with the app", max_length=120, blank=True)
    claim_models = models.CharField("claim with the models", max_length=120, blank=True)
    claim_budget = models.CharField("claim with the budget", max_length=120, blank=True)
    claim_end_user = models.CharField("claim with the end user", max_length=120, default="sub", blank=True)
    ip_ranges = models.JSONField("IP ranges", default=list, blank=True, validators=[validate_networks])
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, editable=False, related_name="+"
    )

    class Meta:
        ordering = ["tenant__name", "name"]
        constraints = [
            models.UniqueConstraint(fields=["issuer", "audience"], name="issuer_and_audience_unique"),
            models.UniqueConstraint(fields=["tenant", "name"], name="issuer_name_unique_in_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant.name} / {self.name}"


class ConfigurationState(models.TextChoices):
    DRAFT = "draft", "Draft"
    PUBLISHED = "published", "Published"
    SUPERSEDED = "superseded", "Superseded"


class TenantConfiguration(models.Model):
    """A version of what a tenant sets for its requests.

    ``content`` are the fields of ``contract.snapshot.Configuration`` but its version, and ``pii``, a policy
    that replaces the tier's (absent: the tier's; null: masks nothing). Once published it never changes.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="configurations")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=12, choices=ConfigurationState, default=ConfigurationState.DRAFT)
    content = models.JSONField(default=dict, blank=True, validators=[validate_content])
    note = models.CharField(max_length=300, blank=True)
    restores = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.PROTECT,
        editable=False,
        related_name="+",
        help_text="The version of which this is a copy, by a roll back.",
    )
    created_at = models.DateTimeField(editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, editable=False, related_name="+"
    )
    published_at = models.DateTimeField(null=True, editable=False)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, editable=False, related_name="+"
    )

    class Meta:
        ordering = ["tenant__name", "-number"]
        verbose_name = "configuration"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "number"], name="configuration_number_unique"),
            models.UniqueConstraint(
                fields=["tenant"], condition=models.Q(state="published"), name="one_published_configuration"
            ),
            models.UniqueConstraint(
                fields=["tenant"], condition=models.Q(state="draft"), name="one_draft_configuration"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant.name} configuration {self.number}"
