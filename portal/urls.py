"""The console at the root, the REST API under ``/api/``, liveness at ``/healthz``."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def healthz(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("healthz", healthz),
    path("api/", include("portal.api.urls")),
    path("", admin.site.urls),
]
