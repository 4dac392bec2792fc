"""The tenant's tab "Limits": each limit as a bar, the queue, and temporary raises."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse

from portal.core import clock
from portal.core.pages import Question, ask
from portal.snapshots.admin import publishing
from portal.tenants import raises
from portal.tenants.errors import TenantError
from portal.tenants.limit_bars import text
from portal.tenants.limit_figures import currency_now, limits_now
from portal.tenants.models import LimitRaise, RaisableLimit, Tenant
from portal.tenants.raise_form import RaiseForm
from portal.tenants.tabs import LIMITS, show_tab, tenant_for

EVERY_SECONDS = 5
SHOWN = 20


class LimitPages:
    """Mixed into the tenant's admin."""

    def get_urls(self) -> list[Any]:
        view: Any = self.admin_site.admin_view  # type: ignore[attr-defined]
        own = [
            path("<uuid:pk>/limits/", view(self.limits_page), name="tenants_tenant_limits"),
            path("<uuid:pk>/limits/now/", view(self.limits_now), name="tenants_tenant_limits_now"),
            path("<uuid:pk>/limits/raise/", view(self.raise_page), name="tenants_tenant_raise"),
            path(
                "<uuid:pk>/limits/raises/<uuid:raise_id>/end/",
                view(self.end_raise_page),
                name="tenants_tenant_raise_end",
            ),
        ]
        return own + super().get_urls()  # type: ignore[misc,no-any-return]

    def limits_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        tenant, now = tenant_for(request, pk), clock.now()
        may = request.user.has_perm
        rows = tenant.raises.select_related("created_by", "ended_by")[:SHOWN]
        live = limits_now(tenant, now, money=may("billing.view_ledgerentry"))
        content = {
            "now_url": reverse("admin:tenants_tenant_limits_now", args=[pk]),
            "every": EVERY_SECONDS,
            "live": live,
            "raises": [_raise_row(tenant, one, now, live.currency) for one in rows]
            if may("tenants.view_limitraise")
            else None,
            "may_raise": may("tenants.add_limitraise"),
            "may_end": may("tenants.change_limitraise"),
            "may_change": may("tenants.change_tenant"),
        }
        return show_tab(self, request, tenant, LIMITS, "admin/tenants/tenant/limits.html", content)  # type: ignore[arg-type]

    def limits_now(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Only what changes by itself."""
        tenant = tenant_for(request, pk)
        live = limits_now(tenant, clock.now(), money=request.user.has_perm("billing.view_ledgerentry"))
        response = TemplateResponse(request, "admin/tenants/tenant/limits_now.html", {"live": live})
        response["Cache-Control"] = "no-store"
        return response

    def raise_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        tenant = tenant_for(request, pk, "tenants.add_limitraise")
        back = reverse("admin:tenants_tenant_limits", args=[pk])
        form = RaiseForm(request.POST or None, initial={"limit": request.GET.get("limit")})
        if form.is_valid():
            try:
                with publishing(request):
                    raised = raises.raise_limit(
                        tenant=tenant, now=clock.now(), user=_user(request), **form.cleaned_data
                    )
            except TenantError as error:
                form.add_error(_FIELD_OF.get(error.code), error.message)
            except ValidationError as error:
                form.add_error(None, error)
            else:
                words = raise_words(raised, currency_now(clock.now()))
                self.log_change(request, tenant, f"{words} Reason: {raised.reason}")  # type: ignore[attr-defined]
                messages.success(request, words)
                return HttpResponseRedirect(back)
        question = Question(
            title=f"Raise a limit of {tenant.name}",
            button="Raise it",
            back=back,
            says=(
                "The limit is higher from now until the moment that you give, and then as it was: the "
                "gateways end it by themselves. Who raised it, why and until when stays in the list.",
            ),
            form=form,
        )
        return ask(self, request, question, status=422 if form.errors else 200)  # type: ignore[arg-type]

    def end_raise_page(self, request: HttpRequest, pk: UUID, raise_id: UUID) -> HttpResponse:
        tenant = tenant_for(request, pk, "tenants.change_limitraise")
        raised = get_object_or_404(tenant.raises.select_related("tenant"), pk=raise_id)
        back = reverse("admin:tenants_tenant_limits", args=[pk])
        limit = raised.get_limit_display()
        if request.method == "POST":
            try:
                with publishing(request):
                    raises.end_raise(raised=raised, now=clock.now(), user=_user(request))
            except TenantError as error:
                messages.warning(request, error.message)
            else:
                self.log_change(request, tenant, f"Ended the raise of: {limit}.")  # type: ignore[attr-defined]
                messages.success(request, f"The usual limit holds again: {limit.lower()}.")
            return HttpResponseRedirect(back)
        question = Question(
            title=f"End the raise of “{limit}” now?",
            button="End it now",
            back=back,
            says=(
                f"{tenant.name} has its usual limit again at once; requests beyond it are refused. "
                "Requests that run already are finished.",
            ),
            danger=True,
        )
        return ask(self, request, question)  # type: ignore[arg-type]


_FIELD_OF = {
    "raise_in_the_past": "until",
    "raise_not_whole": "value",
    "raise_not_higher": "value",
    "raise_without_limit": "limit",
    "raise_overlaps": "limit",
}


def raise_words(raised: LimitRaise, currency: str) -> str:
    limit = RaisableLimit(raised.limit).label
    return f"{limit}: {text(raised.limit, raised.value, currency)} until {raised.until:%Y-%m-%d %H:%M} UTC."


def _raise_row(tenant: Tenant, raised: LimitRaise, now: datetime, currency: str) -> dict[str, Any]:
    over = raised.ended_early_at is not None or raised.until <= now
    state = "ended early" if raised.ended_early_at else "over" if over else "to come"
    if not over and raised.starts_at <= now:
        state = "in force"
    return {
        "raised": raised,
        "amount": text(raised.limit, raised.value, currency),
        "state": state,
        "end_url": "" if over else reverse("admin:tenants_tenant_raise_end", args=[tenant.pk, raised.pk]),
    }


def _user(request: HttpRequest) -> Any:
    return request.user
