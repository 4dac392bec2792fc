"""LoRA adapters, their immutable versions, and the aliases by which tenants use them."""

import uuid

from django.conf import settings
from django.core.validators import RegexValidator
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


class Alias(models.Model):
    """The model name that a tenant's apps use. Without a version it is the pool's base model."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="aliases")
    name = models.CharField("alias", max_length=63, validators=[alias_validator])
    version = models.ForeignKey(
        AdapterVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="aliases"
    )
    pool = models.ForeignKey(
        Pool, null=True, blank=True, on_delete=models.PROTECT, help_text="Empty: the tenant's pool."
    )

    class Meta:
        ordering = ["tenant__name", "name"]
        verbose_name_plural = "aliases"
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="alias_unique_in_tenant")]

    def __str__(self) -> str:
        return f"{self.tenant.name} / {self.name}"
