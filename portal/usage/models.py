"""Usage events as they came in: each once, never changed."""

from django.db import models


class EventColumns(models.Model):
    """``payload`` is the whole event as received; the columns are what queries need."""

    event_id = models.CharField(primary_key=True, max_length=64)
    ts = models.DateTimeField(db_index=True)
    payload = models.JSONField()
    ingested_at = models.DateTimeField()

    class Meta:
        abstract = True


class GatewayUsage(EventColumns):
    """One request as the gateway saw it; refusals too. ``tenant_id`` is plain: history outlives rows."""

    request_id = models.CharField(max_length=64, unique=True)
    tenant_id = models.UUIDField(null=True)
    app_id = models.UUIDField(null=True)
    key_id = models.CharField(max_length=64, blank=True, help_text="Or “jwt-” and the token issuer's id.")
    alias = models.CharField(max_length=63, blank=True)
    worker_id = models.CharField(max_length=120, blank=True)
    endpoint = models.CharField(max_length=40, blank=True)
    outcome = models.CharField(max_length=20)
    reason = models.CharField(max_length=60, blank=True)
    http_status = models.PositiveSmallIntegerField()
    stream = models.BooleanField()
    prompt_tokens = models.PositiveIntegerField(null=True)
    cached_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    ttft_us = models.PositiveBigIntegerField(null=True)
    duration_us = models.PositiveBigIntegerField()
    issuer_id = models.UUIDField(null=True)
    end_user = models.CharField(max_length=64, blank=True)
    served = models.CharField(max_length=10, blank=True)
    degraded = models.BooleanField(default=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    shadow_of = models.CharField(max_length=64, blank=True)
    queue_us = models.PositiveBigIntegerField(null=True)
    max_output_tokens = models.PositiveIntegerField(null=True)
    clamped = models.BooleanField(default=False)
    choices = models.PositiveIntegerField(default=1)
    pii_counts = models.JSONField(default=dict, blank=True, help_text="Values masked, by entity.")
    refused_scope = models.CharField(max_length=80, blank=True)
    refused_limit = models.BigIntegerField(null=True)
    refused_used = models.BigIntegerField(null=True)
    refused_asked = models.BigIntegerField(null=True)
    configuration_version = models.PositiveIntegerField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["tenant_id", "ts"]),
            models.Index(fields=["request_id"], name="tried_again", condition=models.Q(attempts__gt=1)),
        ]
        verbose_name = "request"
        verbose_name_plural = "requests"

    def __str__(self) -> str:
        return self.request_id


class EngineUsage(EventColumns):
    """One try of a request as an engine did it, aborted or not. Who pays for it, the gateway's event says."""

    request_id = models.CharField(max_length=64, db_index=True)
    attempt = models.PositiveSmallIntegerField(default=1)
    tenant_id = models.UUIDField()
    worker_id = models.CharField(max_length=120)
    boot_id = models.CharField(max_length=64)
    pool_id = models.CharField(max_length=80)
    adapter_digest = models.CharField(max_length=64, blank=True)
    finish_reason = models.CharField(max_length=10)
    finished_at = models.DateTimeField()
    prompt_tokens = models.PositiveIntegerField()
    cached_tokens = models.PositiveIntegerField()
    completion_tokens = models.PositiveIntegerField()
    prefill_ns = models.PositiveBigIntegerField()
    decode_ns = models.PositiveBigIntegerField()
    queue_ns = models.PositiveBigIntegerField()
    shadow = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["tenant_id", "ts"]), models.Index(fields=["worker_id", "ts"])]
        constraints = [
            models.UniqueConstraint(fields=["request_id", "attempt"], name="one_engine_event_per_try")
        ]
        verbose_name = "engine event"

    def __str__(self) -> str:
        return self.request_id


class WorkerTime(EventColumns):
    """A stretch ``[ts, end)`` of a worker's life: start-up, busy, and the rest idle."""

    worker_id = models.CharField(max_length=120)
    boot_id = models.CharField(max_length=64)
    pool_id = models.CharField(max_length=80)
    end = models.DateTimeField()
    startup_ns = models.PositiveBigIntegerField()
    busy_ns = models.PositiveBigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["worker_id", "ts"])]
        verbose_name = "worker interval"

    def __str__(self) -> str:
        return f"{self.worker_id} {self.ts:%Y-%m-%d %H:%M:%S}"


ANY_TRY = -1
"""Every bit: as long as no gateway says which try answered."""


class PendingRequest(models.Model):
    """A request whose events came in and whose charge is not yet decided, or not yet settled in Redis.

    Written by the ingest in the same transaction as the events, taken away by the rating once all is done.
    ``settle_micro`` is set when the charge is decided: what the gateway's hold has to become. Of tries each
    is a bit, the first one the lowest: those whose engine's event came, and those of which one pays.
    """

    request_id = models.CharField(primary_key=True, max_length=64)
    ts = models.DateTimeField()
    seen_at = models.DateTimeField()
    has_gateway = models.BooleanField()
    has_engine = models.BooleanField()
    forwarded = models.BooleanField(help_text="False: the gateway says that no worker was asked.")
    tokens_known = models.BooleanField(help_text="The gateway's event says how many tokens it took.")
    engine_tries = models.BigIntegerField(default=0)
    paying_tries = models.BigIntegerField(default=ANY_TRY)
    tenant_id = models.UUIDField(null=True)
    settle_micro = models.BigIntegerField(null=True)
    problem = models.CharField(max_length=40, blank=True)

    class Meta:
        indexes = [models.Index(fields=["seen_at"])]

    def __str__(self) -> str:
        return self.request_id


class ParkedEvent(models.Model):
    """A stream entry that is no usage event: kept whole, with the reason, so that nothing is lost."""

    stream = models.CharField(max_length=60)
    entry_id = models.CharField(max_length=40)
    raw = models.BinaryField()
    code = models.CharField(max_length=60)
    error = models.TextField()
    parked_at = models.DateTimeField()

    class Meta:
        ordering = ["-parked_at"]
        constraints = [models.UniqueConstraint(fields=["stream", "entry_id"], name="parked_once")]

    def __str__(self) -> str:
        return f"{self.stream} {self.entry_id}"
