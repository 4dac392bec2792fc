"""Tenants, tiers, apps and API keys."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from portal.adapters.selectors import misfits
from portal.api.errors import ApiError
from portal.api.serializers import (
    ApiKeySerializer,
    AppSerializer,
    IssuedKeySerializer,
    KeyChangeSerializer,
    RotateSerializer,
    TenantSerializer,
    TierSerializer,
)
from portal.api.views_base import Deletable, Editable, user_of
from portal.core import clock
from portal.tenants import services
from portal.tenants.models import ApiKey, App, Tenant
from portal.tiers.models import Tier


class TierViewSet(Deletable):
    """Tiers: the limits of tenants that have none of their own."""

    queryset = Tier.objects.all()
    serializer_class = TierSerializer
    filters = {"slug": "slug", "name": "name"}


class TenantViewSet(Editable):
    """Tenants. They are suspended, never deleted: their usage and ledger stay."""

    queryset = Tenant.objects.select_related("tier", "pool")
    serializer_class = TenantSerializer
    filters = {"slug": "slug", "name": "name", "tier": "tier", "pool": "pool", "status": "status"}
    action_permissions = {
        "suspend": ("tenants.change_tenant",),
        "reactivate": ("tenants.change_tenant",),
    }

    def perform_create(self, serializer: "BaseSerializer[Tenant]") -> None:
        serializer.instance = services.create_tenant(**serializer.validated_data)

    def check(self, instance: Any) -> None:
        broken = [alias.name for alias in misfits(tenant=instance, pool=instance.pool)]
        if broken:
            message = (
                f"Pool {instance.pool.name} cannot serve what these aliases lead to: {', '.join(broken)}."
            )
            raise ApiError(message, code="pool_cannot_serve")

    @extend_schema(request=None, responses=TenantSerializer)
    @action(detail=True, methods=["post"])
    def suspend(self, _request: Request, **_kwargs: str) -> Response:
        """Refuse every request of the tenant from now on."""
        tenant = self.get_object()
        services.suspend(tenant)
        return Response(self.get_serializer(tenant).data)

    @extend_schema(request=None, responses=TenantSerializer)
    @action(detail=True, methods=["post"])
    def reactivate(self, _request: Request, **_kwargs: str) -> Response:
        """Let the tenant's keys work again."""
        tenant = self.get_object()
        services.reactivate(tenant)
        return Response(self.get_serializer(tenant).data)


class AppViewSet(Deletable):
    """Apps, the owners of API keys."""

    queryset = App.objects.select_related("tenant")
    serializer_class = AppSerializer
    filters = {"tenant": "tenant", "name": "name"}

    def perform_create(self, serializer: "BaseSerializer[App]") -> None:
        serializer.instance = services.create_app(**serializer.validated_data)

    def check(self, instance: Any) -> None:
        if App.objects.filter(pk=instance.pk).exclude(tenant=instance.tenant_id).exists():
            message = "An app stays with its tenant."
            raise ApiError(message, code="app_keeps_tenant")


class ApiKeyViewSet(Editable):
    """API keys. POST answers with the whole key, once; it is kept nowhere."""

    queryset = ApiKey.objects.select_related("app")
    serializer_class = ApiKeySerializer
    filters = {"app": "app", "tenant": "app__tenant"}
    secret_actions = ("create", "rotate")

    action_permissions = {
        "revoke": ("tenants.change_apikey",),
        "rotate": ("tenants.change_apikey", "tenants.add_apikey"),
    }

    def check(self, instance: Any) -> None:
        services.require_own_aliases(app=instance.app, aliases=instance.aliases)

    def get_serializer_class(self) -> "type[BaseSerializer[Any]]":
        return KeyChangeSerializer if self.action == "partial_update" else ApiKeySerializer

    @extend_schema(request=ApiKeySerializer, responses={201: IssuedKeySerializer})
    def create(self, request: Request, *_args: Any, **_kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        issued = services.issue_key(now=clock.now(), user=user_of(request), **serializer.validated_data)
        return self._once(issued)

    @extend_schema(request=None, responses=ApiKeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, _request: Request, **_kwargs: str) -> Response:
        """Refuse the key from now on, for good."""
        key = self.get_object()
        services.revoke_key(key=key, now=clock.now())
        return Response(ApiKeySerializer(key).data)

    @extend_schema(request=RotateSerializer, responses={201: IssuedKeySerializer})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, **_kwargs: str) -> Response:
        """Issue a successor; the old key works for the overlap longer."""
        asked = RotateSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        issued = services.rotate_key(
            key=self.get_object(),
            now=clock.now(),
            user=user_of(request),
            overlap=timedelta(seconds=asked.validated_data["overlap_seconds"]),
        )
        return self._once(issued)

    def _once(self, issued: services.IssuedKey) -> Response:
        shown = IssuedKeySerializer(issued.key, context={"secret": issued.secret})
        return Response(shown.data, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
