"""The tenant's tab "Configuration": versions, what differs, the draft, publishing and rolling back."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse

from gateway_hooks.configuration import Change
from portal.core import clock
from portal.core.pages import Question, ask
from portal.core.words import count
from portal.snapshots.admin import publishing
from portal.tenants import configurations, selectors
from portal.tenants.change_words import change_title, readable_lines, sentences
from portal.tenants.draft_form import DraftForm, SeenForm, draft_initial
from portal.tenants.errors import TenantError
from portal.tenants.models import ConfigurationState, Tenant, TenantConfiguration
from portal.tenants.tabs import CONFIGURATION, show_tab, tenant_for

VIEW, CHANGE = "tenants.view_tenantconfiguration", "tenants.change_tenantconfiguration"
DELETE = "tenants.delete_tenantconfiguration"
SHOWN = 50


class ConfigurationPages:
    """Mixed into the tenant's admin."""

    def get_urls(self) -> list[Any]:
        view: Any = self.admin_site.admin_view  # type: ignore[attr-defined]
        name = "tenants_tenant_configuration"
        own = [
            path("<uuid:pk>/configuration/", view(self.configuration_page), name=name),
            path("<uuid:pk>/configuration/draft/", view(self.draft_page), name=f"{name}_draft"),
            path("<uuid:pk>/configuration/publish/", view(self.publish_page), name=f"{name}_publish"),
            path("<uuid:pk>/configuration/discard/", view(self.discard_page), name=f"{name}_discard"),
            path(
                "<uuid:pk>/configuration/<int:number>/restore/",
                view(self.restore_page),
                name=f"{name}_restore",
            ),
        ]
        return own + super().get_urls()  # type: ignore[misc,no-any-return]

    def configuration_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        tenant = tenant_for(request, pk, VIEW)
        rows = tenant.configurations.select_related("created_by", "published_by", "restores")
        versions = list(rows[:SHOWN])
        old, new = _compared(versions, request)
        may = request.user.has_perm
        content = {
            "versions": versions,
            "draft": next((one for one in versions if one.state == ConfigurationState.DRAFT), None),
            "published": next((one for one in versions if one.state == ConfigurationState.PUBLISHED), None),
            "old": old,
            "new": new,
            "changes": _shown(_changes(tenant, old, new)) if new else [],
            "may_change": may(CHANGE),
            "may_discard": may(DELETE),
        }
        template = "admin/tenants/tenant/configuration.html"
        return show_tab(self, request, tenant, CONFIGURATION, template, content)  # type: ignore[arg-type]

    def draft_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        tenant = tenant_for(request, pk, CHANGE)
        draft = configurations.draft_of(tenant)
        start = draft or configurations.published(tenant)
        initial = draft_initial(start.content if start else {}, draft.note if draft else "")
        now_seen = initial["seen"] = configurations.state_digest(draft)
        form = DraftForm(request.POST or None, initial=initial)
        if form.is_valid():
            try:
                saved = configurations.save_draft(
                    tenant=tenant,
                    content=form.content(),
                    note=form.cleaned_data["note"],
                    now=clock.now(),
                    user=_user(request),
                    seen=form.cleaned_data["seen"] or None,
                )
            except ValidationError as error:
                form.refuse(error)
            except TenantError as error:
                form.stale(f"{error.message} Below is yours; saved again, it replaces theirs.", now_seen)
            else:
                self.log_change(request, tenant, f"Draft {saved.number} of the configuration saved.")  # type: ignore[attr-defined]
                messages.success(
                    request, f"Draft {saved.number} is saved. Nothing changes until it is published."
                )
                return HttpResponseRedirect(_back(tenant))
        content = {"form": form, "draft": draft, "start": start, "back": _back(tenant)}
        return show_tab(
            self,  # type: ignore[arg-type]
            request,
            tenant,
            CONFIGURATION,
            "admin/tenants/tenant/draft.html",
            content,
            status=422 if form.errors else 200,
        )

    def publish_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        tenant = tenant_for(request, pk, CHANGE)
        draft = configurations.draft_of(tenant)
        if draft is None:
            return _nothing(request, tenant, "There is no draft to publish. Edit one first.")
        in_force = configurations.published(tenant)
        changes = _changes(tenant, in_force, draft)
        if request.method == "POST":
            return self._do(
                request,
                tenant,
                lambda: configurations.publish(
                    draft=draft, now=clock.now(), user=_user(request), seen=request.POST.get("seen", "")
                ),
                "is published: new requests follow it from now on.",
            )
        question = Question(
            title=f"Publish configuration {draft.number} of {tenant.name}?",
            button="Publish",
            back=_back(tenant),
            says=(_what_happens(tenant, draft.number), *(sentences(changes) or ("Nothing differs.",))),
            form=SeenForm(initial={"seen": configurations.state_digest(in_force, draft)}),
        )
        return ask(self, request, question)  # type: ignore[arg-type]

    def restore_page(self, request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
        tenant = tenant_for(request, pk, CHANGE)
        to = get_object_or_404(tenant.configurations.select_related("tenant"), number=number)
        if request.method == "POST":
            return self._do(
                request,
                tenant,
                lambda: configurations.roll_back(to=to, now=clock.now(), user=_user(request)),
                f"is published, a copy of version {number}.",
            )
        changes = _changes(tenant, configurations.published(tenant), to)
        question = Question(
            title=f"Roll {tenant.name} back to configuration {number}?",
            button=f"Roll back to {number}",
            back=_back(tenant),
            says=(
                f"A copy of version {number} becomes the newest version. A draft stays as it is.",
                _what_happens(tenant, None),
                *(sentences(changes) or ("Nothing differs from what is in force.",)),
            ),
        )
        return ask(self, request, question)  # type: ignore[arg-type]

    def discard_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        tenant = tenant_for(request, pk, DELETE)
        draft = configurations.draft_of(tenant)
        if draft is None:
            return _nothing(request, tenant, "There is no draft.")
        if request.method == "POST":
            configurations.discard_draft(draft=draft)
            self.log_change(request, tenant, f"Draft {draft.number} of the configuration discarded.")  # type: ignore[attr-defined]
            messages.success(request, "The draft is gone. What is published stays in force.")
            return HttpResponseRedirect(_back(tenant))
        question = Question(
            title=f"Discard draft {draft.number} of {tenant.name}?",
            button="Discard the draft",
            back=_back(tenant),
            says=("The draft is deleted for good. What is published stays in force.",),
            danger=True,
        )
        return ask(self, request, question)  # type: ignore[arg-type]

    def _do(self, request: HttpRequest, tenant: Tenant, service: Any, words: str) -> HttpResponse:
        try:
            with publishing(request):
                done = service()
                self.log_change(request, tenant, f"Configuration {done.number} {words}")  # type: ignore[attr-defined]
        except TenantError as error:
            messages.error(request, error.message)
            if error.code == "draft_changed":
                return HttpResponseRedirect(request.path)
        except ValidationError as error:
            messages.error(request, "It cannot be published: " + "; ".join(error.messages))
        else:
            messages.success(request, f"Configuration {done.number} of {tenant.name} {words}")
        return HttpResponseRedirect(_back(tenant))


def _back(tenant: Tenant) -> str:
    return reverse("admin:tenants_tenant_configuration", args=[tenant.pk])


def _nothing(request: HttpRequest, tenant: Tenant, words: str) -> HttpResponse:
    messages.info(request, words)
    return HttpResponseRedirect(_back(tenant))


def _what_happens(tenant: Tenant, number: int | None) -> str:
    found = selectors.reach(tenant=tenant, now=clock.now())
    which = f"configuration {number}" if number else "it"
    return (
        f"Within a second every new request of {count(found.apps, 'app')} of {tenant.name} follows {which}. "
        "Requests that run already are finished as they began."
    )


def _changes(
    tenant: Tenant, old: TenantConfiguration | None, new: TenantConfiguration | None
) -> list[Change]:
    return configurations.changes(old, new, tier_policy=tenant.tier.pii_policy)


def _compared(
    versions: list[TenantConfiguration], request: HttpRequest
) -> tuple[TenantConfiguration | None, TenantConfiguration | None]:
    """Those asked for; else the newest against the one in force, or against the one before it."""
    by_number = {str(one.number): one for one in versions}
    if "new" in request.GET:
        new = by_number.get(request.GET["new"])
        if new is None:
            raise Http404
        return by_number.get(request.GET.get("old", "")), new
    if not versions:
        return None, None
    return (versions[1] if len(versions) > 1 else None), versions[0]


def _shown(changes: Iterable[Change]) -> list[dict[str, Any]]:
    return [
        {"title": change_title(change.field), "change": change, "lines": readable_lines(change.lines)}
        for change in changes
    ]


def _user(request: HttpRequest) -> Any:
    return request.user
