"""Pools, node rates, what was seen of workers and gateways, and the configuration's versions."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from portal.adapters.selectors import broken_by
from portal.api.errors import ApiError
from portal.api.serializers import (
    GatewaySerializer,
    NodeRateSerializer,
    PoolChangeSerializer,
    PoolSerializer,
    SnapshotSerializer,
    WorkerSerializer,
)
from portal.api.views_base import Base, Deletable, ReadOnly
from portal.core import clock
from portal.fleet import services
from portal.fleet.models import GatewayProcess, NodeRate, Pool, Worker
from portal.snapshots.models import PublishedSnapshot


class PoolViewSet(Deletable):
    """Pools. Workers take changes at their next start."""

    queryset = Pool.objects.all()
    serializer_class = PoolSerializer
    filters = {"name": "name", "base_model": "base_model"}

    def get_serializer_class(self) -> "type[BaseSerializer[Pool]]":
        return PoolChangeSerializer if self.action == "partial_update" else PoolSerializer

    def perform_update(self, serializer: "BaseSerializer[Pool]") -> None:
        """Another model has other keys and values."""
        values = serializer.validated_data
        pool: Any = serializer.instance
        if values.get("model", pool.model) != pool.model and "kv_bytes_per_token" not in values:
            values["kv_bytes_per_token"] = services.kv_bytes_of(values["model"])
        super().perform_update(serializer)

    def check(self, instance: Any) -> None:
        if instance.pk is None:
            return
        broken = broken_by(
            pool=instance, base_model=instance.base_model, max_lora_rank=instance.max_lora_rank
        )
        if names := [str(alias) for alias in broken]:
            message = (
                f"Pool {instance.name} could not serve these aliases any more: {', '.join(names)}. "
                "Point them to other versions or another pool first."
            )
            raise ApiError(message, code="pool_in_use")


class NodeRateViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, Base):
    """What a worker's hour costs, from a moment on. Rates are added, never changed."""

    queryset = NodeRate.objects.select_related("pool")
    serializer_class = NodeRateSerializer
    filters = {"pool": "pool"}

    def perform_create(self, serializer: "BaseSerializer[NodeRate]") -> None:
        serializer.instance = services.set_node_rate(now=clock.now(), **serializer.validated_data)


class WorkerViewSet(ReadOnly):
    """Workers as they last reported themselves."""

    queryset = Worker.objects.select_related("pool")
    serializer_class = WorkerSerializer
    filters = {"pool": "pool", "state": "state"}
    lookup_value_regex = "[^/]+"


class GatewayViewSet(ReadOnly):
    """Gateway processes and the configuration version that each serves."""

    queryset = GatewayProcess.objects.all()
    serializer_class = GatewaySerializer
    lookup_value_regex = "[^/]+"


class SnapshotViewSet(ReadOnly):
    """Published configuration versions, the newest first."""

    queryset = PublishedSnapshot.objects.defer("content")
    serializer_class = SnapshotSerializer
    lookup_value_regex = r"\d+"
    action_permissions = {"newest": ("snapshots.view_publishedsnapshot",)}

    @extend_schema(responses=SnapshotSerializer)
    @action(detail=False, methods=["get"], pagination_class=None)
    def newest(self, _request: Request, **_kwargs: str) -> Response:
        """What every gateway should serve by now."""
        snapshot = self.get_queryset().first()
        if snapshot is None:
            raise Http404
        return Response(self.get_serializer(snapshot).data)
