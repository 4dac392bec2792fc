"""``/api/v1/``, its OpenAPI document, and the page to try it."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.routers import SimpleRouter

from portal.api import views_adapters, views_fleet, views_money, views_tenants

router = SimpleRouter()
router.register("tenants", views_tenants.TenantViewSet)
router.register("tiers", views_tenants.TierViewSet)
router.register("apps", views_tenants.AppViewSet)
router.register("keys", views_tenants.ApiKeyViewSet)
router.register("adapters", views_adapters.AdapterViewSet)
router.register("adapter-versions", views_adapters.AdapterVersionViewSet)
router.register("aliases", views_adapters.AliasViewSet)
router.register("pools", views_fleet.PoolViewSet)
router.register("node-rates", views_fleet.NodeRateViewSet)
router.register("workers", views_fleet.WorkerViewSet)
router.register("gateways", views_fleet.GatewayViewSet)
router.register("configurations", views_fleet.SnapshotViewSet)
router.register("price-books", views_money.PriceBookViewSet)
router.register("rates", views_money.RateViewSet)
router.register("usage/requests", views_money.UsageViewSet)
router.register("billing-periods", views_money.PeriodViewSet)

urlpatterns = [
    path("v1/", include(router.urls)),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="api-schema"), name="api-docs"),
]
