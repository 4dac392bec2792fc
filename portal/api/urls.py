"""``/api/v1/``, its OpenAPI document, and the page to try it."""

from typing import Any

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from portal.api import (
    views_adapters,
    views_dead_letters,
    views_fleet,
    views_history,
    views_money,
    views_promises,
    views_tenants,
)

router = SimpleRouter()
router.register("tenants", views_tenants.TenantViewSet)
router.register("tiers", views_tenants.TierViewSet)
router.register("apps", views_tenants.AppViewSet)
router.register("keys", views_tenants.ApiKeyViewSet)
router.register("raises", views_promises.RaiseViewSet)
router.register("token-issuers", views_promises.IssuerViewSet)
router.register("configurations", views_promises.ConfigurationViewSet)
router.register("budget-alerts", views_promises.AlertViewSet)
router.register("adapters", views_adapters.AdapterViewSet)
router.register("adapter-versions", views_adapters.AdapterVersionViewSet)
router.register("aliases", views_adapters.AliasViewSet)
router.register("pools", views_fleet.PoolViewSet)
router.register("node-rates", views_fleet.NodeRateViewSet)
router.register("workers", views_fleet.WorkerViewSet)
router.register("gateways", views_fleet.GatewayViewSet)
router.register("dead-letters", views_dead_letters.DeadLetterViewSet, basename="dead-letter")
router.register("snapshots", views_fleet.SnapshotViewSet)
router.register("price-books", views_money.PriceBookViewSet)
router.register("rates", views_money.RateViewSet)
router.register("requests", views_history.UsageViewSet)
router.register("engine-events", views_history.EngineEventViewSet)
router.register("ledger", views_history.LedgerViewSet)
router.register("periods", views_money.PeriodViewSet)


class Unknown(APIView):
    """Every other path, so that this error has the form of all."""

    permission_classes = (AllowAny,)
    authentication_classes = ()
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        message = "There is nothing under this path. /api/docs/ lists all; paths end with a slash."
        raise NotFound(message)


urlpatterns = [
    path("v1/", include(router.urls)),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="api-schema"), name="api-docs"),
    re_path("", Unknown.as_view()),
]
