"""The configuration's versions, as they were published to the gateways."""

from django.db import models


class PublishedSnapshot(models.Model):
    """One published version. Only the newest row keeps its ``content``: it is what Redis must hold."""

    version = models.PositiveBigIntegerField(primary_key=True)
    published_at = models.DateTimeField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the content without version and time.")
    content = models.BinaryField(null=True)
    delivered_at = models.DateTimeField(null=True, help_text="When Redis took it.")

    class Meta:
        ordering = ["-version"]

    def __str__(self) -> str:
        return f"configuration {self.version}"
