"""A pool's queue at this moment: who is served, who waits, whose turn it is."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse

from gateway_hooks.contract.pool_view import PoolView, read_pool_view
from portal.core import clock
from portal.core.decorators import action
from portal.core.pages import show
from portal.core.redis import REDIS_AWAY, client
from portal.fleet.models import Pool, Worker
from portal.fleet.naming import tenant_names
from portal.fleet.selectors import ALIVE

EVERY_SECONDS = 3
SHOWN = 50
VIEW = "fleet.view_pool"


class QueuePages:
    """Mixed into the pools' admin."""

    def get_urls(self) -> list[Any]:
        view: Any = self.admin_site.admin_view  # type: ignore[attr-defined]
        own = [
            path("<int:pk>/queue/", view(self.queue_page), name="fleet_pool_queue"),
            path("<int:pk>/queue/now/", view(self.queue_now), name="fleet_pool_queue_now"),
        ]
        return own + super().get_urls()  # type: ignore[misc,no-any-return]

    def queue_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        pool = _pool(request, pk)
        content = {
            "pool": pool,
            "now_url": reverse("admin:fleet_pool_queue_now", args=[pk]),
            "every": EVERY_SECONDS,
            **_queue(pool),
        }
        return show(self, request, "admin/fleet/queue.html", f"Queue of {pool.name}", content)  # type: ignore[arg-type]

    def queue_now(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Only what changes by itself."""
        response = TemplateResponse(request, "admin/fleet/queue_now.html", _queue(_pool(request, pk)))
        response["Cache-Control"] = "no-store"
        return response

    def has_queue_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        return request.user.has_perm(VIEW)

    @action(description="Queue now", url_path="open-queue", permissions=["queue"], icon="groups")
    def open_queue(self, _request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:fleet_pool_queue", args=[object_id]))


def _pool(request: HttpRequest, pk: int) -> Pool:
    if not request.user.has_perm(VIEW):
        raise PermissionDenied
    return get_object_or_404(Pool, pk=pk)


def _queue(pool: Pool) -> dict[str, Any]:
    """Two queries and one round trip to Redis."""
    now = clock.now()
    view: PoolView | None
    try:
        view = read_pool_view(client(), str(pool.pk))
    except REDIS_AWAY:
        view = None
    shown = view.tenants[:SHOWN] if view else ()
    names = tenant_names(one.tenant_id for one in shown)
    workers = Worker.objects.filter(pool=pool, seen_at__gte=now - ALIVE, state="ready")
    sizes = list(workers.values_list("max_num_seqs", flat=True))
    return {
        "view": view,
        "at": now,
        "workers": len(sizes),
        "room": sum(pool.seqs_in_flight or size for size in sizes),
        "rows": [
            (names.get(one.tenant_id, "a tenant that is gone"), _known(one.tenant_id, names), one)
            for one in shown
        ],
        "more": len(view.tenants) - len(shown) if view else 0,
    }


def _known(tenant_id: str, names: dict[str, str]) -> str:
    return reverse("admin:tenants_tenant_limits", args=[UUID(tenant_id)]) if tenant_id in names else ""
