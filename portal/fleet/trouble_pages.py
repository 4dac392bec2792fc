"""What the fleet does not serve just now: open breakers, workers that do not answer, and dead letters."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

from gateway_hooks.contract.dead_letters import DeadLetter
from portal.core import clock
from portal.core.pages import Question, ask, show
from portal.core.redis import REDIS_AWAY
from portal.core.words import duration
from portal.fleet.dead_letters import dead_letters, find_dead_letter, letter_id, release
from portal.fleet.errors import FleetError
from portal.fleet.models import GatewayProcess
from portal.fleet.naming import adapter_names, tenant_names
from portal.fleet.selectors import ALIVE

SHOWN = 200
VIEW, RELEASE = "fleet.view_gatewayprocess", "fleet.change_pool"


class TroublePages:
    """Mixed into the gateways' admin."""

    def get_urls(self) -> list[Any]:
        view: Any = self.admin_site.admin_view  # type: ignore[attr-defined]
        own = [
            path("trouble/", view(self.trouble_page), name="fleet_trouble"),
            path("trouble/<str:letter>/release/", view(self.release_page), name="fleet_dead_letter_release"),
        ]
        return own + super().get_urls()  # type: ignore[misc,no-any-return]

    def trouble_page(self, request: HttpRequest) -> HttpResponse:
        _require(request, VIEW)
        now = clock.now()
        try:
            letters: list[DeadLetter] | None = dead_letters()
        except REDIS_AWAY:
            letters = None
        content = {
            "breakers": breakers(now),
            "unhealthy": _unhealthy(now),
            "letters": None if letters is None else _letter_rows(letters[:SHOWN]),
            "more": max(0, len(letters or ()) - SHOWN),
            "may_release": request.user.has_perm(RELEASE),
        }
        return show(self, request, "admin/fleet/trouble.html", "Breakers and dead letters", content)  # type: ignore[arg-type]

    def release_page(self, request: HttpRequest, letter: str) -> HttpResponse:
        _require(request, RELEASE)
        back = reverse("admin:fleet_trouble")
        try:
            if request.method == "POST":
                release(letter, user=_user(request))
                messages.success(request, "Released: the same request is served again.")
                return HttpResponseRedirect(back)
            found = find_dead_letter(letter)
        except FleetError as error:
            messages.warning(request, error.message)
            return HttpResponseRedirect(back)
        except REDIS_AWAY:
            messages.error(
                request, "Redis cannot be reached, so nothing was released. Try again when it is back."
            )
            return HttpResponseRedirect(back)
        name = tenant_names([found.tenant_id]).get(found.tenant_id, "a tenant that is gone")
        question = Question(
            title=f"Let this request of {name} run again?",
            button="Release it",
            back=back,
            says=(
                f"It crashed {found.crashes} workers ({', '.join(found.workers)}) and is refused since. "
                "Released, it goes to a worker when it is sent again, and may crash that one too.",
                "After two more crashes it is refused again.",
            ),
            danger=True,
        )
        return ask(self, request, question)  # type: ignore[arg-type]


def breakers(now: datetime) -> list[dict[str, Any]]:
    """Open ones as the living gateways report them, the longest open first; names in two queries."""
    living = GatewayProcess.objects.filter(seen_at__gte=now - ALIVE).exclude(breakers=[])
    found = [(gateway, one) for gateway in living for one in gateway.breakers]
    tenants = tenant_names(one.get("tenant_id") or "" for _, one in found)
    adapters = adapter_names(one.get("adapter_digest") or "" for _, one in found)
    rows = [
        {
            "gateway": f"{gateway.host}, process {gateway.pid}",
            "worker": one["worker_id"],
            "tenant": tenants.get(one.get("tenant_id") or "", "")
            or ("all" if not one.get("tenant_id") else "?"),
            "what": _what(one, adapters),
            "since": (since := datetime.fromisoformat(one["since"])),
            "open_for": duration(now - since),
            "state": "probing" if one.get("half_open") else "open",
        }
        for gateway, one in found
    ]
    return sorted(rows, key=lambda row: row["since"])[:SHOWN]


def _what(breaker: dict[str, Any], adapters: dict[str, str]) -> str:
    if not breaker.get("tenant_id"):
        return "the way to the worker itself"
    digest = breaker.get("adapter_digest")
    return adapters.get(digest, f"adapter {digest[:12]}…") if digest else "base model"


def _unhealthy(now: datetime) -> list[tuple[str, str]]:
    living = GatewayProcess.objects.filter(seen_at__gte=now - ALIVE).exclude(unhealthy=[])
    return sorted(
        (str(worker), f"{gateway.host}, process {gateway.pid}")
        for gateway in living
        for worker in gateway.unhealthy
    )


def _letter_rows(letters: Iterable[DeadLetter]) -> list[dict[str, Any]]:
    letters = list(letters)
    names = tenant_names(letter.tenant_id for letter in letters)
    return [
        {
            "letter": letter,
            "tenant": names.get(letter.tenant_id, "a tenant that is gone"),
            "workers": ", ".join(letter.workers),
            "release_url": reverse("admin:fleet_dead_letter_release", args=[letter_id(letter)]),
        }
        for letter in letters
    ]


def _user(request: HttpRequest) -> Any:
    return request.user


def _require(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied
