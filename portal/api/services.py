"""What keeps the API's own table small."""

from datetime import datetime, timedelta

from portal.api.models import IdempotentAnswer

KEPT = timedelta(hours=24)


def forget_old_idempotency(now: datetime) -> int:
    """Delete answers older than ``KEPT``, of which no repeat is answered any more; returns how many."""
    deleted, _by_model = IdempotentAnswer.objects.filter(created_at__lt=now - KEPT).delete()
    return deleted
