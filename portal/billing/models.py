"""Price books, billing periods, and the ledger: what each request was charged and each worker cost."""

from decimal import Decimal

from django.conf import settings
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models

from portal.tenants.models import Tenant
from portal.tiers.models import Tier


class PriceBook(models.Model):
    """Prices from ``effective_from`` until the next published book. Published books never change."""

    name = models.CharField(max_length=120)
    currency = models.CharField(max_length=3, default="USD", validators=[RegexValidator(r"^[A-Z]{3}$")])
    effective_from = models.DateTimeField()
    published_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-effective_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["effective_from"],
                condition=models.Q(published_at__isnull=False),
                name="one_published_book_per_moment",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} (from {self.effective_from:%Y-%m-%d})"


class Rate(models.Model):
    """Prices per million tokens. The most specific row wins: tenant, then tier, then neither."""

    book = models.ForeignKey(PriceBook, on_delete=models.PROTECT, related_name="rates")
    base_model = models.CharField(max_length=120)
    tier = models.ForeignKey(Tier, null=True, blank=True, on_delete=models.PROTECT)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.PROTECT)
    input_price = models.DecimalField(
        "input per 1M tokens", max_digits=14, decimal_places=6, validators=[MinValueValidator(Decimal(0))]
    )
    cached_input_price = models.DecimalField(
        "cached input per 1M tokens",
        max_digits=14,
        decimal_places=6,
        validators=[MinValueValidator(Decimal(0))],
    )
    output_price = models.DecimalField(
        "output per 1M tokens", max_digits=14, decimal_places=6, validators=[MinValueValidator(Decimal(0))]
    )

    class Meta:
        ordering = ["book", "base_model"]
        constraints = [
            models.UniqueConstraint(
                fields=["book", "base_model", "tier", "tenant"],
                nulls_distinct=False,
                name="one_rate_per_book_and_scope",
            ),
            models.CheckConstraint(
                condition=models.Q(tier__isnull=True) | models.Q(tenant__isnull=True),
                name="rate_for_tier_or_tenant",
            ),
        ]

    def __str__(self) -> str:
        scope = self.tenant or self.tier or "everyone"
        return f"{self.base_model} for {scope}"


class PeriodState(models.TextChoices):
    OPEN = "open", "Open"
    CLOSED = "closed", "Closed"


class BillingPeriod(models.Model):
    """A calendar month ``[start, end)`` in UTC. Closed periods never change."""

    month = models.CharField(primary_key=True, max_length=7, validators=[RegexValidator(r"^\d{4}-\d{2}$")])
    start = models.DateTimeField()
    end = models.DateTimeField()
    state = models.CharField(max_length=10, choices=PeriodState, default=PeriodState.OPEN)
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,  # forgetting who closed it would change a closed period
        related_name="+",
    )
    totals = models.JSONField(default=dict, help_text="What the close found, as exact decimal strings.")

    class Meta:
        ordering = ["-month"]

    def __str__(self) -> str:
        return self.month


class LedgerEntry(models.Model):
    """One request's charge: exact, never rounded, never changed. Amounts are price x quantity / 1M.

    A correction says by how much an entry was off: its tokens, GPU time and amounts are differences and may
    be negative, its key is the request's with a number behind it. ``ts`` is the admission. ``period`` is the
    month of ``ts``, or the next open one if that month was already closed when the entry was made. Names
    are kept as they were: a rename changes no line.
    """

    class Source(models.TextChoices):
        MATCHED = "matched", "Gateway and engine"
        GATEWAY_ONLY = "gateway_only", "Gateway only"
        ENGINE_ONLY = "engine_only", "Engine only"

    request_id = models.CharField(primary_key=True, max_length=70)
    corrects = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="corrections"
    )
    period = models.ForeignKey(BillingPeriod, on_delete=models.PROTECT, related_name="entries")
    ts = models.DateTimeField()
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="ledger_entries")
    tenant_name = models.CharField(max_length=120)
    app_id = models.UUIDField(null=True)
    app_name = models.CharField(max_length=120, blank=True)
    key_id = models.CharField(max_length=64, blank=True)
    alias = models.CharField(max_length=63, blank=True)
    base_model = models.CharField(max_length=120)
    adapter_version_id = models.UUIDField(null=True)
    adapter_name = models.CharField(max_length=120, blank=True)
    worker_id = models.CharField(max_length=120, blank=True)
    rate = models.ForeignKey(Rate, null=True, on_delete=models.PROTECT)
    currency = models.CharField(max_length=3)
    source = models.CharField(max_length=20, choices=Source)
    tokens_known = models.BooleanField(
        default=True, help_text="False: neither event says how many tokens it took, so none are charged."
    )
    outcome = models.CharField(max_length=20)
    prompt_tokens = models.IntegerField()
    cached_tokens = models.IntegerField()
    completion_tokens = models.IntegerField()
    input_amount = models.DecimalField(max_digits=26, decimal_places=12)
    cached_input_amount = models.DecimalField(max_digits=26, decimal_places=12)
    output_amount = models.DecimalField(max_digits=26, decimal_places=12)
    gpu_ns = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-ts"]
        verbose_name_plural = "ledger entries"
        indexes = [
            models.Index(fields=["tenant", "ts"]),
            models.Index(fields=["period", "tenant"]),
            models.Index(fields=["ts"], name="ledger_by_time"),
        ]

    def __str__(self) -> str:
        return self.request_id

    @property
    def amount(self) -> Decimal:
        return self.input_amount + self.cached_input_amount + self.output_amount


class CostLine(models.Model):
    """A part of a worker's bill in a period. Per worker and period the lines sum to the bill to the cent."""

    class Kind(models.TextChoices):
        BUSY = "busy", "Busy"
        STARTUP = "startup", "Start-up"
        IDLE = "idle", "Idle"
        RESIDUAL = "residual", "Busy, not attributed"

    period = models.ForeignKey(BillingPeriod, on_delete=models.PROTECT, related_name="cost_lines")
    worker_id = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, choices=Kind)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.PROTECT)
    ns = models.BigIntegerField(help_text="Nanoseconds of the worker that this line pays for.")
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    currency = models.CharField(max_length=3)

    class Meta:
        ordering = ["period", "worker_id", "kind"]
        constraints = [
            models.UniqueConstraint(
                fields=["period", "worker_id", "currency", "kind", "tenant"],
                nulls_distinct=False,
                name="one_cost_line_per_share",
            )
        ]

    def __str__(self) -> str:
        return f"{self.period_id} {self.worker_id} {self.kind}"


class SpentDay(models.Model):
    """What the gateways would have counted for one key of one app in one day, in micro-currency.

    The ledger's own sum, kept by whoever writes entries. ``day`` is one of ``zone``'s, the tenant's billing
    zone when the entries were written: a tenant that moved has days of both.
    """

    tenant_id = models.UUIDField()
    app_id = models.UUIDField(null=True)
    key_id = models.CharField(max_length=64, blank=True)
    zone = models.CharField(max_length=60)
    day = models.DateField()
    micro = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "app_id", "key_id", "zone", "day"],
                nulls_distinct=False,
                name="one_sum_per_day_and_scope",
            )
        ]
        indexes = [models.Index(fields=["day"], name="spent_by_day")]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.day} {self.micro}"


class BudgetAlert(models.Model):
    """Spending reached a percentage of a limit in a period: told once each.

    ``scope`` is ``tenant``, ``app.<id>`` or ``key.<id>``; ``period`` a day (YYYY-MM-DD) or month (YYYY-MM)
    of the tenant's billing zone. Amounts are as they were then, in the currency of its prices.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="budget_alerts")
    scope = models.CharField(max_length=80)
    period = models.CharField(max_length=10)
    percent = models.PositiveIntegerField()
    limit = models.DecimalField(max_digits=14, decimal_places=6)
    spent = models.DecimalField(max_digits=26, decimal_places=6)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "scope", "period", "percent"], name="one_budget_alert_each"
            )
        ]

    def __str__(self) -> str:
        return f"{self.tenant.name} {self.scope} {self.period}: {self.percent} %"
