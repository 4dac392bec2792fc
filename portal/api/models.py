"""Answers kept for ``Idempotency-Key``, so that a repeated POST does nothing twice."""

from django.conf import settings
from django.db import models


class IdempotentAnswer(models.Model):
    """One user's key, the request that it was used for, and the answer.

    Where the answer held a secret, ``body`` is only ``{"id": …}`` of what was made.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, path and body.")
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    secret_shown = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once_per_user")]

    def __str__(self) -> str:
        return self.key
