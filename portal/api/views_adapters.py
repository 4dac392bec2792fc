"""Adapters, their versions, and aliases."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from gateway_hooks.contract.artifacts import CONFIG_FILE, WEIGHTS_FILE
from portal.adapters import rollouts, services
from portal.adapters.models import ROLLOUT_FIELDS, Adapter, AdapterVersion, Alias, Track
from portal.adapters.sources import Files
from portal.api.errors import ApiError
from portal.api.serializers import (
    AdapterSerializer,
    AdapterVersionSerializer,
    AliasChangeSerializer,
    AliasSerializer,
    StableSerializer,
    UploadSerializer,
)
from portal.api.views_base import Base, Deletable, user_of
from portal.core import clock
from portal.tenants.models import Tenant


class AdapterViewSet(Deletable):
    """Adapters: each a line of versions that belongs to one tenant."""

    queryset = Adapter.objects.select_related("tenant")
    serializer_class = AdapterSerializer
    filters = {"tenant": "tenant", "name": "name"}
    publishes = False
    action_permissions = {"stable": ("adapters.change_alias",)}

    @extend_schema(request=StableSerializer, responses=AdapterSerializer)
    @action(detail=True, methods=["post"])
    def stable(self, request: Request, **_kwargs: str) -> Response:
        """Set the stable version: aliases on the stable track serve it from now on."""
        asked = StableSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        adapter = self.get_object()
        rollouts.set_stable_version(adapter=adapter, version=asked.validated_data["version"])
        adapter.refresh_from_db(fields=["stable_version"])
        return Response(AdapterSerializer(adapter).data)

    def perform_create(self, serializer: "BaseSerializer[Adapter]") -> None:
        serializer.instance = services.create_adapter(**serializer.validated_data)

    def check(self, instance: Any) -> None:
        if Adapter.objects.filter(pk=instance.pk).exclude(tenant=instance.tenant_id).exists():
            message = "An adapter stays with its tenant."
            raise ApiError(message, code="adapter_keeps_tenant")


class AdapterVersionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Base):
    """Adapter versions: uploaded, checked, and then never changed."""

    queryset = AdapterVersion.objects.select_related("adapter")
    serializer_class = AdapterVersionSerializer
    filters = {"adapter": "adapter", "tenant": "adapter__tenant", "digest": "digest"}
    parser_classes = (MultiPartParser,)
    http_method_names = ("get", "post", "head", "options")

    @extend_schema(
        request={"multipart/form-data": UploadSerializer}, responses={201: AdapterVersionSerializer}
    )
    def create(self, request: Request, *_args: Any, **_kwargs: Any) -> Response:
        """Upload a version. It must be safetensors and fit the pool's base model."""
        asked = UploadSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        version = services.register_version(
            adapter=values["adapter"],
            source=Files({CONFIG_FILE: values["adapter_config"], WEIGHTS_FILE: values["adapter_model"]}),
            user=user_of(request),
            now=clock.now(),
            note=values["note"],
            pool=values["pool"],
        )
        return Response(self.get_serializer(version).data, status=status.HTTP_201_CREATED)


class AliasViewSet(Deletable):
    """Aliases: the model names of a tenant's apps. Without a version it is the base model."""

    queryset = Alias.objects.select_related("tenant__pool", "version__adapter", "pool")
    serializer_class = AliasSerializer
    filters = {"tenant": "tenant", "name": "name"}

    def get_serializer_class(self) -> "type[BaseSerializer[Any]]":
        return AliasChangeSerializer if self.action == "partial_update" else AliasSerializer

    def perform_create(self, serializer: "BaseSerializer[Alias]") -> None:
        values = serializer.validated_data
        if Alias.objects.filter(tenant=values["tenant"], name=values["name"]).exists():
            message = "The tenant has an alias of this name. Change that one."
            raise ApiError(message, code="alias_exists")
        serializer.instance = self._set(values["tenant"], values["name"], values)

    def perform_update(self, serializer: "BaseSerializer[Alias]") -> None:
        alias: Any = serializer.instance
        served = {name: getattr(alias, name) for name in ("version", "pool", "track")}
        serializer.instance = self._set(alias.tenant, alias.name, served | serializer.validated_data)

    def _set(self, tenant: Tenant, name: str, values: dict[str, Any]) -> Alias:
        rollout = {field: value for field, value in values.items() if field in ROLLOUT_FIELDS}
        return services.set_alias(
            tenant=tenant,
            name=name,
            version=values.get("version"),
            pool=values.get("pool"),
            track=values.get("track", Track.PINNED),
            rollout=rollout,
        )

    def perform_destroy(self, instance: Alias) -> None:
        services.delete_alias(alias=instance)
