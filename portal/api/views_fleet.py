"""Pools, node rates, what was seen of workers and gateways, and the configuration's versions."""

from rest_framework import mixins
from rest_framework.serializers import BaseSerializer

from portal.api.serializers import (
    GatewaySerializer,
    NodeRateSerializer,
    PoolChangeSerializer,
    PoolSerializer,
    SnapshotSerializer,
    WorkerSerializer,
)
from portal.api.views_base import Base, Editable, ReadOnly
from portal.core import clock
from portal.fleet import services
from portal.fleet.models import GatewayProcess, NodeRate, Pool, Worker
from portal.snapshots.models import PublishedSnapshot


class PoolViewSet(Editable):
    """Pools. Workers take changes at their next start."""

    queryset = Pool.objects.all()
    serializer_class = PoolSerializer
    filters = {"name": "name", "base_model": "base_model"}

    def get_serializer_class(self) -> "type[BaseSerializer[Pool]]":
        return PoolChangeSerializer if self.action == "partial_update" else PoolSerializer


class NodeRateViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, Base):
    """What a worker's hour costs, from a moment on. Rates are added, never changed."""

    queryset = NodeRate.objects.select_related("pool")
    serializer_class = NodeRateSerializer
    filters = {"pool": "pool"}

    def perform_create(self, serializer: "BaseSerializer[NodeRate]") -> None:
        values = {"currency": "USD", **serializer.validated_data}
        serializer.instance = services.set_node_rate(now=clock.now(), **values)


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
