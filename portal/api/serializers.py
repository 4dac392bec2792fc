"""What the API reads and shows. Values are checked by the models' own rules; the services save."""

from collections.abc import Mapping
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from portal.adapters.models import ROLLOUT_FIELDS, Adapter, AdapterVersion, Alias
from portal.billing.models import BillingPeriod, LedgerEntry, PriceBook, Rate
from portal.fleet.models import ENDPOINTS, GatewayProcess, NodeRate, Pool, Worker
from portal.snapshots.models import PublishedSnapshot
from portal.tenants.limits import NAMES
from portal.tenants.models import ApiKey, App, Tenant
from portal.tenants.validators import MAX_ENTRIES
from portal.tiers.models import Tier
from portal.tiers.validators import MAX_PERCENT
from portal.usage.models import EngineUsage, GatewayUsage

LIMITS = NAMES


def names_field(*, max_length: int = 120, **options: Any) -> serializers.ListField:
    one = serializers.CharField(max_length=max_length)
    return serializers.ListField(child=one, max_length=MAX_ENTRIES, **options)


def _percentages(**options: Any) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_PERCENT), max_length=20, **options
    )


class JsonObject(serializers.JSONField):
    """An object that the model's own rules look into."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            message = "It must be an object."
            raise serializers.ValidationError(message)
        return data


class Strict(serializers.Serializer[Any]):
    """Refuses names that it does not know: a mistyped limit would otherwise mean "not limited"."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError(dict.fromkeys(unknown, "There is no such field."))
        return super().to_internal_value(data)


QUEUEING = ("weight", "queue_depth", "queue_wait_seconds", "clamp_output", "alert_percentages")


class TierSerializer(Strict, serializers.ModelSerializer[Tier]):
    alert_percentages = _percentages(required=False)
    pii_policy = JsonObject(required=False, allow_null=True, help_text="Null masks nothing.")

    class Meta:
        model = Tier
        fields = (
            *("id", "name", "slug", "description", *LIMITS, "max_output_tokens", "request_timeout_seconds"),
            *("outage_policy", "outage_requests_per_minute", *QUEUEING, "pii_policy"),
            *("end_user_requests_per_minute", "end_user_tokens_per_minute", "end_user_daily_spend_limit"),
        )


class TenantSerializer(Strict, serializers.ModelSerializer[Tenant]):
    alert_percentages = _percentages(required=False, allow_null=True)

    class Meta:
        model = Tenant
        fields = (
            *("id", "name", "slug", "status", "tier", "service_class", "pool", *LIMITS, "region"),
            *("cost_centre", "billing_timezone", "ttft_objective_ms", "sla_penalty", "workload_profile"),
            *("beta", "created_at", *QUEUEING),
        )
        read_only_fields = ("status", "created_at")


class AppSerializer(Strict, serializers.ModelSerializer[App]):
    class Meta:
        model = App
        fields = ("id", "tenant", "name", *LIMITS, "created_at")
        read_only_fields = ("created_at",)


class ApiKeySerializer(Strict, serializers.ModelSerializer[ApiKey]):
    tenant = serializers.UUIDField(source="app.tenant_id", read_only=True)
    aliases = names_field(
        required=False, allow_null=True, help_text="Models it may use. Null: all of the tenant's."
    )
    ip_ranges = names_field(required=False, help_text="Networks it may be used from. Empty: anywhere.")

    class Meta:
        model = ApiKey
        fields: tuple[str, ...] = (
            *("id", "app", "tenant", "name", *LIMITS, "aliases", "ip_ranges", "created_at", "expires_at"),
            *("revoked_at", "replaced_by"),
        )
        read_only_fields: tuple[str, ...] = ("id", "created_at", "revoked_at", "replaced_by")


class KeyChangeSerializer(ApiKeySerializer):
    """What may change of a key; its expiry and app are fixed when it is issued."""

    class Meta(ApiKeySerializer.Meta):
        read_only_fields = (*ApiKeySerializer.Meta.read_only_fields, "app", "expires_at")


class IssuedKeySerializer(ApiKeySerializer):
    """A key as it is shown once, with its whole text."""

    secret = serializers.SerializerMethodField(help_text="The whole key. Shown now, and never again.")

    class Meta(ApiKeySerializer.Meta):
        fields = (*ApiKeySerializer.Meta.fields, "secret")

    def get_secret(self, _obj: ApiKey) -> str:
        return str(self.context["secret"])


class RotateSerializer(Strict):
    overlap_seconds = serializers.IntegerField(
        min_value=0,
        max_value=30 * 86_400,
        default=86_400,
        help_text="How much longer the old key works.",
    )


class AdapterSerializer(Strict, serializers.ModelSerializer[Adapter]):
    class Meta:
        model = Adapter
        fields = ("id", "tenant", "name", "description", "stable_version", "created_at")
        read_only_fields = ("created_at", "stable_version")


class StableSerializer(Strict):
    version = serializers.PrimaryKeyRelatedField(
        queryset=AdapterVersion.objects.all(),
        allow_null=True,
        help_text="Aliases on the stable track serve it from now on. Null: none is stable.",
    )


class AdapterVersionSerializer(serializers.ModelSerializer[AdapterVersion]):
    tenant = serializers.UUIDField(source="adapter.tenant_id", read_only=True)
    target_modules = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = AdapterVersion
        fields = (
            *("id", "adapter", "tenant", "number", "digest", "size_bytes", "rank", "target_modules"),
            *("base_model", "dtype", "note", "created_at"),
        )
        read_only_fields = fields


class UploadSerializer(Strict):
    """``multipart/form-data``. The two files of a PEFT adapter; only safetensors."""

    adapter = serializers.PrimaryKeyRelatedField(queryset=Adapter.objects.select_related("tenant__pool"))
    adapter_config = serializers.FileField(help_text="adapter_config.json")
    adapter_model = serializers.FileField(help_text="adapter_model.safetensors")
    note = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)
    pool = serializers.PrimaryKeyRelatedField(
        queryset=Pool.objects.all(),
        required=False,
        allow_null=True,
        default=None,
        help_text="Whose base model it must fit. Default: the tenant's pool.",
    )


class AliasSerializer(Strict, serializers.ModelSerializer[Alias]):
    class Meta:
        model = Alias
        fields = ("id", "tenant", "name", "track", "version", "pool", *ROLLOUT_FIELDS)


class AliasChangeSerializer(AliasSerializer):
    """An alias keeps its tenant and name: apps use them."""

    class Meta(AliasSerializer.Meta):
        read_only_fields = ("tenant", "name")


class PoolSerializer(Strict, serializers.ModelSerializer[Pool]):
    endpoints = serializers.ListField(
        child=serializers.ChoiceField(choices=[(one, one) for one in ENDPOINTS]), required=False
    )

    class Meta:
        model = Pool
        fields = (
            *("id", "name", "base_model", "model", "max_model_len", "max_num_seqs", "max_num_batched_tokens"),
            *("max_loras", "max_cpu_loras", "max_lora_rank", "kv_cache_gib", "enforce_eager", "endpoints"),
            *("kv_bytes_per_token", "seqs_in_flight", "tokens_in_flight"),
        )


class PoolChangeSerializer(PoolSerializer):
    """Workers are started with the pool's name, so it stays."""

    class Meta(PoolSerializer.Meta):
        read_only_fields = ("name",)


class NodeRateSerializer(Strict, serializers.ModelSerializer[NodeRate]):
    currency = serializers.CharField(
        default="USD", validators=[RegexValidator(r"^[A-Z]{3}\Z", "Three letters, such as USD or EUR.")]
    )

    class Meta:
        model = NodeRate
        fields = ("id", "pool", "hourly_rate", "currency", "effective_from")


class WorkerSerializer(serializers.ModelSerializer[Worker]):
    adapters = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Worker
        fields = (
            *("id", "pool", "boot_id", "url", "state", "device", "vllm_version", "max_num_seqs"),
            *("kv_cache_tokens", "adapters", "started_at", "seen_at"),
        )


class BreakerSerializer(serializers.Serializer[Any]):
    """Without a tenant it is the way to the worker itself."""

    worker_id = serializers.CharField()
    since = serializers.DateTimeField()
    adapter_digest = serializers.CharField(allow_null=True)
    tenant_id = serializers.CharField(allow_blank=True)
    half_open = serializers.BooleanField()


class GatewaySerializer(serializers.ModelSerializer[GatewayProcess]):
    breakers = BreakerSerializer(many=True, read_only=True)
    unhealthy = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = GatewayProcess
        fields = (
            *("id", "host", "pid", "url", "snapshot_version", "snapshot_loaded_at", "snapshot_source"),
            *("spooled_events", "breakers", "unhealthy", "started_at", "seen_at"),
        )


class SnapshotSerializer(serializers.ModelSerializer[PublishedSnapshot]):
    class Meta:
        model = PublishedSnapshot
        fields = ("version", "published_at", "digest", "delivered_at")


class PriceBookSerializer(Strict, serializers.ModelSerializer[PriceBook]):
    class Meta:
        model = PriceBook
        fields = ("id", "name", "currency", "effective_from", "published_at")
        read_only_fields = ("published_at",)


class RateSerializer(Strict, serializers.ModelSerializer[Rate]):
    class Meta:
        model = Rate
        fields = (
            *("id", "book", "base_model", "tier", "tenant"),
            *("input_price", "cached_input_price", "output_price"),
        )
        # The model's own rule counts "no tier" and "no tenant" as values; DRF's copy of it would not.
        validators: tuple[Any, ...] = ()


class UsageSerializer(serializers.ModelSerializer[GatewayUsage]):
    pii_counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)

    class Meta:
        model = GatewayUsage
        fields = (
            *("request_id", "ts", "tenant_id", "app_id", "key_id", "alias", "worker_id", "endpoint"),
            *("outcome", "reason", "http_status", "stream", "prompt_tokens", "cached_tokens"),
            *("completion_tokens", "ttft_us", "duration_us", "issuer_id", "end_user", "served", "degraded"),
            *("attempts", "shadow_of", "queue_us", "max_output_tokens", "clamped", "choices", "pii_counts"),
            *("refused_scope", "refused_limit", "refused_used", "refused_asked", "configuration_version"),
        )


class EngineEventSerializer(serializers.ModelSerializer[EngineUsage]):
    class Meta:
        model = EngineUsage
        fields = (
            *("request_id", "ts", "tenant_id", "worker_id", "adapter_digest", "finish_reason", "finished_at"),
            *("prompt_tokens", "cached_tokens", "completion_tokens", "prefill_ns", "decode_ns", "queue_ns"),
            "shadow",
            "attempt",
        )


class LedgerSerializer(serializers.ModelSerializer[LedgerEntry]):
    """Amounts are exact, in ``currency``. A line that ``corrects`` another one holds differences."""

    class Meta:
        model = LedgerEntry
        fields = (
            *("request_id", "corrects", "ts", "period", "tenant", "tenant_name", "app_id", "app_name"),
            *("key_id", "alias"),
            *("base_model", "adapter_version_id", "adapter_name", "worker_id", "source", "outcome", "rate"),
            *("prompt_tokens", "cached_tokens", "completion_tokens", "gpu_ns", "currency"),
            *("input_amount", "cached_input_amount", "output_amount"),
        )


class HistoryQuerySerializer(serializers.Serializer[Any]):
    """How all history is filtered."""

    tenant = serializers.UUIDField(required=False)
    worker = serializers.CharField(required=False, max_length=120)
    request_id = serializers.CharField(required=False, max_length=64)
    since = serializers.DateTimeField(required=False, help_text="Admitted at or after this moment.")
    until = serializers.DateTimeField(required=False, help_text="Admitted before this moment.")


class UsageQuerySerializer(HistoryQuerySerializer):
    app = serializers.UUIDField(required=False)
    key = serializers.CharField(required=False, max_length=12)
    alias = serializers.CharField(required=False, max_length=63)
    outcome = serializers.CharField(required=False, max_length=20)
    reason = serializers.CharField(required=False, max_length=60)


class LedgerQuerySerializer(HistoryQuerySerializer):
    app = serializers.UUIDField(required=False)
    key = serializers.CharField(required=False, max_length=12)
    period = serializers.RegexField(r"^\d{4}-\d{2}$", required=False)


class PeriodSerializer(serializers.ModelSerializer[BillingPeriod]):
    totals = serializers.DictField(read_only=True)

    class Meta:
        model = BillingPeriod
        fields = ("month", "start", "end", "state", "closed_at", "totals")


class CloseSerializer(Strict):
    accept = serializers.ListField(
        child=serializers.CharField(max_length=60),
        default=list,
        help_text="Codes of findings that were looked at and are accepted.",
    )


class SummarySerializer(serializers.Serializer[Any]):
    """One tenant in one period and currency. Money as exact decimal text."""

    tenant_id = serializers.UUIDField()
    tenant_name = serializers.CharField()
    currency = serializers.CharField()
    requests = serializers.IntegerField()
    without_price = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    gpu_seconds = serializers.DecimalField(max_digits=30, decimal_places=9)
    charge = serializers.DecimalField(max_digits=40, decimal_places=12)
    cost = serializers.DecimalField(max_digits=40, decimal_places=2)
    margin = serializers.DecimalField(max_digits=40, decimal_places=12, allow_null=True)


class ProblemSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    fields = serializers.DictField(  # type: ignore[assignment] # the wire's name for it
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


class ErrorSerializer(serializers.Serializer[Any]):
    """Every error. ``code`` is stable."""

    error = ProblemSerializer()
