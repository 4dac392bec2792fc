"""The console at the root, the REST API under ``/api/``, liveness at ``/healthz``."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import include, path
from django.views.defaults import server_error

from portal.api.errors import internal_error


def healthz(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("healthz", healthz),
    path("api/", include("portal.api.urls")),
    path("", admin.site.urls),
]


def handler500(request: HttpRequest) -> HttpResponseBase:
    """The API answers in its own form, the console with its page; what happened is in the log."""
    return internal_error() if request.path.startswith("/api/") else server_error(request)
