"""Day summaries: what makes a month of figures cheap to show. Derived; nothing is billed from them."""

from django.db import models


class DayFigures(models.Model):
    """One UTC day's usage of one tenant, or of everyone (``tenant_id`` null).

    The last six columns belong to everyone's row only: the workers' time, and how many rows each source
    had when the day was summed. Sources only ever grow, so equal counts mean an up-to-date summary.
    """

    day = models.DateField()
    tenant_id = models.UUIDField(null=True)
    requests = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    gpu_ns = models.BigIntegerField(default=0)
    ttft = models.JSONField(default=dict, help_text="Requests by bin of time to first token.")
    busy_ns = models.BigIntegerField(default=0)
    startup_ns = models.BigIntegerField(default=0)
    alive_ns = models.BigIntegerField(default=0)
    gateway_rows = models.BigIntegerField(default=0)
    engine_rows = models.BigIntegerField(default=0)
    worker_rows = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "tenant_id"], nulls_distinct=False, name="one_summary_per_day_and_tenant"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.tenant_id or 'everyone'}"


class DayCharge(models.Model):
    """What one tenant was charged for the requests of one UTC day; exact sums of its ledger entries."""

    day = models.DateField()
    tenant_id = models.UUIDField()
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=26, decimal_places=12)
    entries = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "tenant_id", "currency"], name="one_charge_per_day_tenant_and_currency"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.tenant_id} {self.amount:f} {self.currency}"
