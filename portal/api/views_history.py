"""What happened to each request: as the gateways saw it, as the engine did it, and what was charged."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers

from portal.api.pagination import Newest
from portal.api.serializers import (
    EngineEventSerializer,
    HistoryQuerySerializer,
    LedgerQuerySerializer,
    LedgerSerializer,
    UsageQuerySerializer,
    UsageSerializer,
)
from portal.api.views_base import ReadOnly
from portal.billing.models import LedgerEntry
from portal.usage.models import EngineUsage, GatewayUsage

_LOOKUPS = {
    "since": "ts__gte",
    "until": "ts__lt",
    "tenant": "tenant_id",
    "app": "app_id",
    "key": "key_id",
    "worker": "worker_id",
}


class HistoryViewSet(ReadOnly):
    """One row per request, the newest first."""

    pagination_class = Newest
    lookup_field = "request_id"
    lookup_value_regex = "[^/]+"
    query_class: type[serializers.Serializer[Any]] = HistoryQuerySerializer

    def filter_queryset(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if self.action != "list":
            return queryset
        asked = self.query_class(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        return queryset.filter(
            **{_LOOKUPS.get(name, name): value for name, value in asked.validated_data.items()}
        )


@extend_schema_view(list=extend_schema(parameters=[UsageQuerySerializer]))
class UsageViewSet(HistoryViewSet):
    """Requests as the gateways saw them, refused ones too."""

    queryset = GatewayUsage.objects.defer("payload")
    serializer_class = UsageSerializer
    query_class = UsageQuerySerializer


@extend_schema_view(list=extend_schema(parameters=[HistoryQuerySerializer]))
class EngineEventViewSet(HistoryViewSet):
    """Requests as the engine did them, aborted ones too."""

    queryset = EngineUsage.objects.defer("payload")
    serializer_class = EngineEventSerializer

    def get_object(self) -> EngineUsage:
        """Of a request that was tried again, the last try."""
        tries = self.get_queryset().filter(request_id=self.kwargs["request_id"]).order_by("-attempt")
        found: EngineUsage | None = tries.first()
        if found is None:
            raise Http404
        self.check_object_permissions(self.request, found)
        return found


@extend_schema_view(list=extend_schema(parameters=[LedgerQuerySerializer]))
class LedgerViewSet(HistoryViewSet):
    """What each request was charged: exact, final."""

    queryset = LedgerEntry.objects.all()
    serializer_class = LedgerSerializer
    query_class = LedgerQuerySerializer
