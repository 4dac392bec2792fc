"""LoRA adapters, their immutable versions, and the aliases by which tenants use them."""

import uuid
from decimal import Decimal

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from portal.core.names import validate_name
from portal.fleet.models import Pool
from portal.tenants.models import Tenant

alias_validator = RegexValidator(
    r"^[a-z0-9][a-z0-9._-]{0,62}$", "Lower-case letters, digits, dot, dash and underscore."
)


class Adapter(models.Model):
    """A line of adapter versions that belongs to one tenant."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="adapters")
    name = models.SlugField(max_length=80, validators=[validate_name])
    description = models.CharField(max_length=300, blank=True)
    stable_version = models.ForeignKey(
        "AdapterVersion",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Aliases that follow the stable version move with it.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["tenant__name", "name"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="adapter_name_unique_in_tenant")
        ]

    def __str__(self) -> str:
        return f"{self.tenant.name} / {self.name}"


class AdapterVersion(models.Model):
    """A verified artifact in the store. Made by ``services.register_version`` only; never changed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    adapter = models.ForeignKey(Adapter, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the artifact: its folder in the store.")
    size_bytes = models.PositiveBigIntegerField()
    rank = models.PositiveIntegerField()
    target_modules = models.JSONField()
    base_model = models.CharField(max_length=120)
    dtype = models.CharField(max_length=20)
    checks = models.JSONField(default=list, help_text="What was found, in sentences.")
    note = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, editable=False, related_name="+"
    )

    class Meta:
        ordering = ["adapter__name", "-number"]
        constraints = [models.UniqueConstraint(fields=["adapter", "number"], name="version_number_unique")]

    def __str__(self) -> str:
        return f"{self.adapter} v{self.number}"


VERSION_FIELDS = ("version", "canary_version", "shadow_version", "beta_version", "fallback_version")
"""All by which an alias names versions."""
ROLLOUT_FIELDS = (
    *("canary_version", "canary_percent", "shadow_version", "shadow_percent"),
    *("beta_version", "fallback_version"),
)
"""What an alias serves besides its own version."""


class Track(models.TextChoices):
    PINNED = "pinned", "Pinned to its version"
    STABLE = "stable", "Follows the adapter's stable version"


def _other_version(verbose_name: str, help_text: str) -> "models.ForeignKey[AdapterVersion | None]":
    return models.ForeignKey(
        AdapterVersion,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=verbose_name,
        help_text=help_text,
    )


def _share(verbose_name: str) -> "models.DecimalField[Decimal, Decimal]":
    """Two decimals, so that it is whole in basis points."""
    return models.DecimalField(
        verbose_name,
        max_digits=5,
        decimal_places=2,
        default=Decimal(0),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(100))],
    )


class Alias(models.Model):
    """The model name that a tenant's apps use. Without a version it is the pool's base model.

    ``version`` is what is served now, on either track: where the track is stable,
    ``services.set_stable_version`` moves it with the adapter's.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="aliases")
    name = models.CharField("alias", max_length=63, validators=[alias_validator])
    track = models.CharField(max_length=10, choices=Track, default=Track.PINNED)
    version = models.ForeignKey(
        AdapterVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="aliases"
    )
    pool = models.ForeignKey(
        Pool, null=True, blank=True, on_delete=models.PROTECT, help_text="Empty: the tenant's pool."
    )
    canary_version = _other_version("canary version", "Takes its share of the conversations.")
    canary_percent = _share("canary share (%)")
    shadow_version = _other_version("shadow version", "Gets a copy that nobody waits for or pays.")
    shadow_percent = _share("shadow share (%)")
    beta_version = _other_version("beta version", "Served if the tenant takes beta versions.")
    fallback_version = _other_version(
        "fallback version", "Serves, marked as degraded, when the others cannot."
    )

    class Meta:
        ordering = ["tenant__name", "name"]
        verbose_name_plural = "aliases"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="alias_unique_in_tenant"),
            models.CheckConstraint(
                condition=models.Q(track="pinned") | models.Q(version__isnull=False),
                name="stable_alias_has_a_version",
            ),
            models.CheckConstraint(
                condition=models.Q(canary_percent=0)
                | models.Q(canary_version__isnull=False, canary_percent__gt=0, canary_percent__lte=100),
                name="canary_share_has_a_version",
            ),
            models.CheckConstraint(
                condition=models.Q(shadow_percent=0)
                | models.Q(shadow_version__isnull=False, shadow_percent__gt=0, shadow_percent__lte=100),
                name="shadow_share_has_a_version",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant.name} / {self.name}"
