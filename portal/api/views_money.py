"""Price books, rates, billing periods, and usage."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.errors import ConflictError, UnavailableError
from portal.api.pagination import Newest
from portal.api.serializers import (
    CloseSerializer,
    PeriodSerializer,
    PriceBookSerializer,
    RateSerializer,
    SummarySerializer,
    UsageQuerySerializer,
    UsageSerializer,
)
from portal.api.views_base import Editable, ReadOnly, user_of
from portal.billing import closing
from portal.billing.models import BillingPeriod, PriceBook, Rate
from portal.billing.price_books import publish_book
from portal.billing.selectors import tenant_summary
from portal.core import clock
from portal.core.redis import REDIS_AWAY
from portal.usage.models import GatewayUsage


def _must_be_draft(book: PriceBook) -> None:
    if book.published_at is not None:
        message = f"{book.name} is published and stays as it is. Make a new book."
        raise ConflictError(message, code="book_published")


class PriceBookViewSet(mixins.DestroyModelMixin, Editable):
    """Price books. Drafts may change; a published one never does."""

    queryset = PriceBook.objects.all()
    serializer_class = PriceBookSerializer
    publishes = False
    action_permissions = {"publish": ("billing.change_pricebook",)}

    def check(self, instance: Any) -> None:
        _must_be_draft(instance)

    def perform_destroy(self, instance: PriceBook) -> None:
        _must_be_draft(instance)
        instance.delete()

    @extend_schema(request=None, responses=PriceBookSerializer)
    @action(detail=True, methods=["post"])
    def publish(self, _request: Request, **_kwargs: str) -> Response:
        """Make the prices effective from the book's moment on, for good."""
        return Response(self.get_serializer(publish_book(self.get_object(), now=clock.now())).data)


class RateViewSet(mixins.DestroyModelMixin, Editable):
    """Prices per million tokens. The most specific wins: tenant, then tier, then neither."""

    queryset = Rate.objects.select_related("book")
    serializer_class = RateSerializer
    filters = {"book": "book", "base_model": "base_model", "tier": "tier", "tenant": "tenant"}
    publishes = False

    def check(self, instance: Any) -> None:
        _must_be_draft(instance.book)
        if instance.pk:
            _must_be_draft(PriceBook.objects.get(rates=instance.pk))

    def perform_destroy(self, instance: Rate) -> None:
        _must_be_draft(instance.book)
        instance.delete()


class UsageViewSet(ReadOnly):
    """Requests as the gateways saw them, the newest first."""

    queryset = GatewayUsage.objects.defer("payload")
    serializer_class = UsageSerializer
    pagination_class = Newest
    lookup_field = "request_id"
    lookup_value_regex = "[^/]+"

    def filter_queryset(self, queryset: "QuerySet[GatewayUsage]") -> "QuerySet[GatewayUsage]":
        if self.action != "list":
            return queryset
        asked = UsageQuerySerializer(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        lookups = {"since": "ts__gte", "until": "ts__lt", "tenant": "tenant_id", "app": "app_id", "key": "key_id"}
        return queryset.filter(
            **{lookups.get(name, name): value for name, value in asked.validated_data.items()}
        )

    @extend_schema(parameters=[UsageQuerySerializer])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)


class PeriodViewSet(ReadOnly):
    """Billing periods: calendar months in UTC."""

    queryset = BillingPeriod.objects.all()
    serializer_class = PeriodSerializer
    http_method_names = ("get", "post", "head", "options")
    lookup_value_regex = r"\d{4}-\d{2}"
    action_permissions = {
        "close": ("billing.change_billingperiod",),
        "summary": ("billing.view_billingperiod", "billing.view_ledgerentry"),
    }

    @extend_schema(request=CloseSerializer, responses=PeriodSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, **_kwargs: str) -> Response:
        """Take in what is there, reconcile, and freeze the month."""
        asked = CloseSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        period, now = self.get_object(), clock.now()
        try:
            closing.drain(now)
            closed = closing.close_period(
                period.month, user=user_of(request), now=now, accept=asked.validated_data["accept"]
            )
        except REDIS_AWAY as error:
            message = "Redis cannot be reached, so events may be waiting there. Close once it is back."
            raise UnavailableError(message) from error
        return Response(self.get_serializer(closed).data)

    @extend_schema(responses=SummarySerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def summary(self, _request: Request, **_kwargs: str) -> Response:
        """Every tenant with use or cost in the period."""
        return Response(SummarySerializer(tenant_summary(self.get_object()), many=True).data)
