"""Pools, the workers and gateways seen, and what a worker's hour costs."""

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models

ENDPOINTS = ("chat.completions", "completions", "embeddings", "responses", "messages")


def default_endpoints() -> list[str]:
    return ["chat.completions", "completions", "responses", "messages"]


class Pool(models.Model):
    """Workers that share a profile: one base model, one set of engine settings."""

    name = models.SlugField(max_length=80, unique=True)
    base_model = models.CharField(
        "base model name", max_length=120, help_text="The name by which the workers serve it."
    )
    model = models.CharField(
        "model folder or Hugging Face id", max_length=300, help_text="Read by each worker at its start."
    )
    max_model_len = models.PositiveIntegerField("context (tokens)", default=2048)
    max_num_seqs = models.PositiveIntegerField("sequences at once", default=8)
    max_num_batched_tokens = models.PositiveIntegerField("tokens per step", default=2048)
    max_loras = models.PositiveIntegerField("adapters active at once", default=4)
    max_cpu_loras = models.PositiveIntegerField("adapters kept in memory", default=16)
    max_lora_rank = models.PositiveIntegerField("largest adapter rank", default=16)
    kv_cache_gib = models.PositiveIntegerField("KV cache (GiB); 0 leaves it to vLLM (GPU only)", default=1)
    kv_bytes_per_token = models.PositiveBigIntegerField(
        "KV cache per token (bytes)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Empty: read from the model's config.json where it can be; unknown otherwise.",
    )
    seqs_in_flight = models.PositiveIntegerField(
        "requests admitted per worker",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Further ones wait at the gateways, where they are fair. Empty: as the worker reports.",
    )
    tokens_in_flight = models.PositiveBigIntegerField(
        "tokens admitted per worker",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Prompt and output of all requests admitted. Empty: as the worker reports.",
    )
    enforce_eager = models.BooleanField("no graph capture", default=True)
    endpoints = models.JSONField(default=default_endpoints)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class NodeRate(models.Model):
    """What an hour of any worker of a pool costs from ``effective_from`` on."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="rates")
    hourly_rate = models.DecimalField(
        max_digits=14, decimal_places=6, validators=[MinValueValidator(Decimal(0))]
    )
    currency = models.CharField(max_length=3, default="USD")
    effective_from = models.DateTimeField()

    class Meta:
        ordering = ["pool", "-effective_from"]
        constraints = [
            models.UniqueConstraint(fields=["pool", "effective_from"], name="one_node_rate_per_moment")
        ]

    def __str__(self) -> str:
        return f"{self.pool}: {self.hourly_rate:f} {self.currency}/h"


class Worker(models.Model):
    """A vLLM worker as it last reported itself."""

    id = models.CharField(primary_key=True, max_length=120)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="workers")
    boot_id = models.CharField(max_length=64)
    url = models.CharField(max_length=200)
    state = models.CharField(max_length=20)
    device = models.CharField(max_length=120)
    vllm_version = models.CharField(max_length=60)
    max_num_seqs = models.PositiveIntegerField()
    kv_cache_tokens = models.PositiveBigIntegerField(null=True)
    adapters = models.JSONField(default=list)
    outbox_bytes = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.id


class GatewayProcess(models.Model):
    """A gateway process and the snapshot that it serves, as it last reported."""

    id = models.CharField(primary_key=True, max_length=120)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    url = models.CharField(max_length=200)
    snapshot_version = models.PositiveBigIntegerField()
    snapshot_loaded_at = models.DateTimeField(null=True)
    snapshot_source = models.CharField(max_length=10)
    spooled_events = models.PositiveIntegerField(default=0)
    breakers = models.JSONField(default=list, help_text="What it does not send where: fields of OpenBreaker.")
    unhealthy = models.JSONField(default=list, help_text="Workers that do not answer its health checks.")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        verbose_name = "gateway process"
        verbose_name_plural = "gateway processes"

    def __str__(self) -> str:
        return self.id
