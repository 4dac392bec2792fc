"""What the API reads and shows of raises, token issuers, configurations, alerts and dead letters."""

from typing import Any

from rest_framework import serializers

from portal.api.serializers import LIMITS, JsonObject, Strict, names_field
from portal.billing.models import BudgetAlert
from portal.tenants.models import LimitRaise, TenantConfiguration, TokenIssuer
from portal.tenants.validators import ALGORITHMS

MAX_SECRET = 1024


class RaiseSerializer(Strict, serializers.ModelSerializer[LimitRaise]):
    starts_at = serializers.DateTimeField(required=False, help_text="Default: now.")

    class Meta:
        model = LimitRaise
        fields = (
            *("id", "tenant", "limit", "value", "starts_at", "until", "reason", "created_at"),
            "ended_early_at",
        )
        read_only_fields = ("created_at", "ended_early_at")


class IssuerSerializer(Strict, serializers.ModelSerializer[TokenIssuer]):
    """A shared secret goes in and never comes out."""

    algorithms = serializers.ListField(
        child=serializers.ChoiceField(choices=[(one, one) for one in ALGORITHMS]), max_length=len(ALGORITHMS)
    )
    jwks = serializers.ListField(
        child=JsonObject(), max_length=20, required=False, help_text="Public keys (RFC 7517)."
    )
    ip_ranges = names_field(required=False)
    secret = serializers.CharField(
        write_only=True,
        required=False,
        max_length=MAX_SECRET,
        trim_whitespace=False,
        help_text="For HS256, HS384 and HS512. Kept sealed.",
    )
    secrets = serializers.SerializerMethodField(help_text="How many shared secrets its tokens may have.")

    class Meta:
        model = TokenIssuer
        fields: tuple[str, ...] = (
            *("id", "tenant", "app", "name", "issuer", "audience", "algorithms", "jwks", "jwks_url"),
            *("jwks_fetched_at", "jwks_error", "secret", "secrets", "leeway_seconds", "max_age_seconds"),
            *("claim_tenant", "claim_app", "claim_models", "claim_budget", "claim_end_user", *LIMITS),
            *("ip_ranges", "active", "created_at"),
        )
        read_only_fields: tuple[str, ...] = ("jwks_fetched_at", "jwks_error", "created_at")

    def get_secrets(self, obj: TokenIssuer) -> int:
        return len(obj.sealed_secrets)


class IssuerChangeSerializer(IssuerSerializer):
    """Secrets are rotated, and an issuer stays with its tenant."""

    secret = None  # type: ignore[assignment] # DRF's way to leave a field out

    class Meta(IssuerSerializer.Meta):
        fields = tuple(name for name in IssuerSerializer.Meta.fields if name != "secret")
        read_only_fields = (*IssuerSerializer.Meta.read_only_fields, "tenant")


class SecretSerializer(Strict):
    secret = serializers.CharField(max_length=MAX_SECRET, trim_whitespace=False)
    keep_previous = serializers.BooleanField(
        default=True, help_text="Tokens signed with the one before are still taken."
    )


class ConfigurationSerializer(Strict, serializers.ModelSerializer[TenantConfiguration]):
    """``content``: system prompt, defaults, bounds, stop words, output length, endpoints, tools, ``pii``."""

    content = JsonObject()

    class Meta:
        model = TenantConfiguration
        fields: tuple[str, ...] = (
            *("id", "tenant", "number", "state", "content", "note", "restores", "created_at"),
            "published_at",
        )
        read_only_fields: tuple[str, ...] = ("number", "state", "restores", "created_at", "published_at")


class ConfigurationChangeSerializer(ConfigurationSerializer):
    class Meta(ConfigurationSerializer.Meta):
        read_only_fields = (*ConfigurationSerializer.Meta.read_only_fields, "tenant")


class ChangeSerializer(serializers.Serializer[Any]):
    """One field that differs from what is in force."""

    field = serializers.CharField()
    before = serializers.CharField(allow_null=True)
    after = serializers.CharField(allow_null=True)
    lines = serializers.ListField(child=serializers.CharField(), help_text="Of long texts, as a diff.")


class AlertSerializer(serializers.ModelSerializer[BudgetAlert]):
    class Meta:
        model = BudgetAlert
        fields = ("id", "tenant", "scope", "period", "percent", "limit", "spent", "at")


class DeadLetterSerializer(serializers.Serializer[Any]):
    """A request that crashed workers twice, known by its fingerprint; it is refused until it is released."""

    id = serializers.CharField()
    tenant_id = serializers.UUIDField()
    fingerprint = serializers.CharField()
    alias = serializers.CharField()
    crashes = serializers.IntegerField()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    workers = serializers.ListField(child=serializers.CharField())
    request_ids = serializers.ListField(child=serializers.CharField())
