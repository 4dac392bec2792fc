"""Raises, token issuers, configurations, budget alerts."""

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from portal.api.serializers_promises import (
    AlertSerializer,
    ChangeSerializer,
    ConfigurationChangeSerializer,
    ConfigurationSerializer,
    IssuerChangeSerializer,
    IssuerSerializer,
    RaiseSerializer,
    SecretSerializer,
)
from portal.api.views_base import Base, Deletable, ReadOnly, user_of
from portal.billing.models import BudgetAlert
from portal.core import clock
from portal.tenants import configurations, issuers, raises
from portal.tenants.models import LimitRaise, TenantConfiguration, TokenIssuer


class RaiseViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, Base):
    """Temporary raises of a tenant's limits. They are ended, never changed: the rows are the audit."""

    queryset = LimitRaise.objects.select_related("tenant")
    serializer_class = RaiseSerializer
    filters = {"tenant": "tenant", "limit": "limit"}
    action_permissions = {"end": ("tenants.change_limitraise",)}
    http_method_names = ("get", "post", "head", "options")

    def perform_create(self, serializer: "BaseSerializer[LimitRaise]") -> None:
        serializer.instance = raises.raise_limit(
            now=clock.now(), user=user_of(self.request), **serializer.validated_data
        )

    @extend_schema(request=None, responses=RaiseSerializer)
    @action(detail=True, methods=["post"])
    def end(self, request: Request, **_kwargs: str) -> Response:
        """The usual limit holds again from now on."""
        raised = self.get_object()
        raises.end_raise(raised=raised, now=clock.now(), user=user_of(request))
        return Response(self.get_serializer(raised).data)


class IssuerViewSet(Deletable):
    """Who signs tokens (JWT) for a tenant. Shared secrets are written and never read."""

    queryset = TokenIssuer.objects.select_related("tenant", "app")
    serializer_class = IssuerSerializer
    filters = {"tenant": "tenant", "app": "app", "issuer": "issuer", "audience": "audience"}
    own_transactions = ("refresh",)
    action_permissions = dict.fromkeys(
        ("rotate", "refresh", "forget_old_secrets"), ("tenants.change_tokenissuer",)
    )

    def get_serializer_class(self) -> "type[BaseSerializer[Any]]":
        return IssuerChangeSerializer if self.action == "partial_update" else IssuerSerializer

    def perform_create(self, serializer: "BaseSerializer[TokenIssuer]") -> None:
        serializer.instance = issuers.create_issuer(
            now=clock.now(), user=user_of(self.request), **serializer.validated_data
        )

    def perform_update(self, serializer: "BaseSerializer[TokenIssuer]") -> None:
        issuer: Any = serializer.instance
        serializer.instance = issuers.change_issuer(issuer, **serializer.validated_data)

    def perform_destroy(self, instance: TokenIssuer) -> None:
        issuers.delete_issuer(issuer=instance)

    @extend_schema(request=SecretSerializer, responses=IssuerSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, **_kwargs: str) -> Response:
        """Take tokens signed with a new shared secret; with the one before too, if it is to be kept."""
        asked = SecretSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        issuer = issuers.rotate_secret(issuer=self.get_object(), **asked.validated_data)
        return Response(IssuerSerializer(issuer).data)

    @extend_schema(request=None, responses=IssuerSerializer)
    @action(detail=True, methods=["post"], url_path="forget-old-secrets")
    def forget_old_secrets(self, _request: Request, **_kwargs: str) -> Response:
        """Take tokens signed with the newest shared secret only."""
        issuer = issuers.forget_old_secrets(issuer=self.get_object())
        return Response(IssuerSerializer(issuer).data)

    @extend_schema(request=None, responses=IssuerSerializer)
    @action(detail=True, methods=["post"])
    def refresh(self, _request: Request, **_kwargs: str) -> Response:
        """Read the public keys from the issuer's address now. ``jwks_error`` says what went wrong."""
        issuer = issuers.refresh_jwks(issuer=self.get_object(), now=clock.now())
        return Response(IssuerSerializer(issuer).data)


class ConfigurationViewSet(Deletable):
    """What tenants set for their requests, in versions. POST makes or replaces the tenant's draft."""

    queryset = TenantConfiguration.objects.select_related("tenant__tier")
    serializer_class = ConfigurationSerializer
    filters = {"tenant": "tenant", "state": "state"}
    action_permissions = {
        "publish": ("tenants.change_tenantconfiguration",),
        "roll_back": ("tenants.change_tenantconfiguration",),
        "changes": ("tenants.view_tenantconfiguration",),
    }

    def get_serializer_class(self) -> "type[BaseSerializer[Any]]":
        return ConfigurationChangeSerializer if self.action == "partial_update" else ConfigurationSerializer

    def perform_create(self, serializer: "BaseSerializer[TenantConfiguration]") -> None:
        serializer.instance = configurations.save_draft(
            now=clock.now(), user=user_of(self.request), **serializer.validated_data
        )

    def perform_update(self, serializer: "BaseSerializer[TenantConfiguration]") -> None:
        draft: Any = serializer.instance
        kept = {"content": draft.content, "note": draft.note}
        with transaction.atomic():
            configurations.require_draft(draft)
            serializer.instance = configurations.save_draft(
                tenant=draft.tenant,
                now=clock.now(),
                user=user_of(self.request),
                **(kept | serializer.validated_data),
            )

    def perform_destroy(self, instance: TenantConfiguration) -> None:
        configurations.discard_draft(draft=instance)

    @extend_schema(request=None, responses=ConfigurationSerializer)
    @action(detail=True, methods=["post"])
    def publish(self, request: Request, **_kwargs: str) -> Response:
        """Put the draft in force."""
        done = configurations.publish(draft=self.get_object(), now=clock.now(), user=user_of(request))
        return Response(self.get_serializer(done).data)

    @extend_schema(request=None, responses={201: ConfigurationSerializer})
    @action(detail=True, methods=["post"], url_path="roll-back")
    def roll_back(self, request: Request, **_kwargs: str) -> Response:
        """Publish a copy of this earlier version."""
        done = configurations.roll_back(to=self.get_object(), now=clock.now(), user=user_of(request))
        return Response(self.get_serializer(done).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses=ChangeSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filter_backends=())
    def changes(self, _request: Request, **_kwargs: str) -> Response:
        """What would be different, or is, from the version in force."""
        one = self.get_object()
        found = configurations.changes(
            configurations.published(one.tenant), one, tier_policy=one.tenant.tier.pii_policy
        )
        return Response(ChangeSerializer([change._asdict() for change in found], many=True).data)


class AlertViewSet(ReadOnly):
    """Spending that reached a percentage of a limit: one row each."""

    queryset = BudgetAlert.objects.select_related("tenant")
    serializer_class = AlertSerializer
    filters = {"tenant": "tenant", "scope": "scope", "period": "period"}
