"""The configuration's versions, as they were published to the gateways."""

from django.db import models


class PublishedSnapshot(models.Model):
    """One published version: whole, or as a delta from the one before it.

    One row at a time holds a whole ``content``; the ``delta`` of every later row leads on from there. Both
    together are what Redis must hold.
    """

    version = models.PositiveBigIntegerField(primary_key=True)
    published_at = models.DateTimeField()
    checked_at = models.DateTimeField(help_text="When the registry was last compared with it.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the content without version and time.")
    schema_version = models.PositiveSmallIntegerField(default=0)
    content = models.BinaryField(null=True)
    delta = models.BinaryField(null=True)
    delivered_at = models.DateTimeField(null=True, help_text="When Redis took it.")

    class Meta:
        ordering = ["-version"]
        verbose_name = "configuration version"

    def __str__(self) -> str:
        return f"configuration {self.version}"


class PendingChange(models.Model):
    """Written in the transaction of a change, gone once a version with it is stored.

    So a process that dies between its commit and its publishing leaves a trace, and the next
    redelivery publishes. ``tenant_id`` names the only tenant that the change touches, where it is one.
    """

    tenant_id = models.UUIDField(null=True)

    class Meta:
        verbose_name = "change that awaits publishing"
        verbose_name_plural = "changes that await publishing"

    def __str__(self) -> str:
        return f"change {self.pk}"
