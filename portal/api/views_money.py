"""Price books, rates and billing periods."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.errors import ApiError
from portal.api.serializers import (
    CloseSerializer,
    PeriodSerializer,
    PriceBookSerializer,
    RateSerializer,
    SummarySerializer,
)
from portal.api.views_base import Deletable, ReadOnly, user_of
from portal.billing import closing
from portal.billing.models import BillingPeriod, PriceBook, Rate
from portal.billing.price_books import publish_book
from portal.billing.selectors import tenant_summary
from portal.core import clock
from portal.core.redis import REDIS_AWAY


def _must_be_draft(book: PriceBook) -> None:
    if book.published_at is not None:
        message = f"{book.name} is published and stays as it is. Make a new book."
        raise ApiError(message, code="book_published")


class PriceBookViewSet(Deletable):
    """Price books. Drafts may change; a published one never does."""

    queryset = PriceBook.objects.all()
    serializer_class = PriceBookSerializer
    publishes = False
    action_permissions = {"publish": ("billing.change_pricebook",)}

    def check(self, instance: Any) -> None:
        _must_be_draft(instance)

    def check_delete(self, instance: Any) -> None:
        _must_be_draft(instance)

    @extend_schema(request=None, responses=PriceBookSerializer)
    @action(detail=True, methods=["post"])
    def publish(self, _request: Request, **_kwargs: str) -> Response:
        """Make the prices effective from the book's moment on, for good."""
        return Response(self.get_serializer(publish_book(self.get_object(), now=clock.now())).data)


class RateViewSet(Deletable):
    """Prices per million tokens. The most specific wins: tenant, then tier, then neither."""

    queryset = Rate.objects.select_related("book")
    serializer_class = RateSerializer
    filters = {"book": "book", "base_model": "base_model", "tier": "tier", "tenant": "tenant"}
    publishes = False

    def check(self, instance: Any) -> None:
        _must_be_draft(instance.book)
        if instance.pk:
            _must_be_draft(PriceBook.objects.get(rates=instance.pk))

    def check_delete(self, instance: Any) -> None:
        _must_be_draft(instance.book)


class PeriodViewSet(ReadOnly):
    """Billing periods: calendar months in UTC."""

    queryset = BillingPeriod.objects.all()
    serializer_class = PeriodSerializer
    http_method_names = ("get", "post", "head", "options")
    lookup_value_regex = r"\d{4}-\d{2}"
    own_transactions = ("close",)  # draining acknowledges in Redis what it has committed
    action_permissions = {
        "close": ("billing.change_billingperiod",),
        "summary": (
            "billing.view_billingperiod",
            "billing.view_ledgerentry",
            "billing.view_costline",
        ),
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
            raise ApiError(message, code="unavailable", status=503) from error
        except closing.CloseRefusedError as refused:
            reasons = {finding.code: [finding.message] for finding in refused.findings}
            raise ApiError(refused.message, code=refused.code, fields=reasons) from refused
        return Response(self.get_serializer(closed).data)

    @extend_schema(responses=SummarySerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def summary(self, _request: Request, **_kwargs: str) -> Response:
        """Every tenant with use or cost in the period."""
        return Response(SummarySerializer(tenant_summary(self.get_object()), many=True).data)
