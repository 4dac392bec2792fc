"""The API keys' pages: made, shown once, rotated and revoked here."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter
from unfold.enums import ActionVariant

from portal.core import clock
from portal.core.admin import ConsoleAdmin
from portal.core.decorators import action, display
from portal.core.pages import Question, Secret, ask, show_once
from portal.core.words import count
from portal.snapshots.admin import PublishingAdmin, publishing
from portal.tenants import selectors, services
from portal.tenants.errors import TenantError
from portal.tenants.forms import ApiKeyForm, NewKeyForm, RotateForm
from portal.tenants.models import ApiKey, App

STATE_LABELS = {
    "active": "success",
    "expires soon": "warning",
    "expired": "default",
    "revoked": "danger",
}
TIME = "%Y-%m-%d %H:%M UTC"


class StateFilter(DropdownFilter):  # type: ignore[misc] # unfold publishes no types
    title = "state"
    parameter_name = "state"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("usable", "Usable"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, _request: HttpRequest, queryset: "QuerySet[ApiKey]") -> "QuerySet[ApiKey]":
        now = clock.now()
        if self.value() == "usable":
            return queryset.filter(selectors.usable(now))
        if self.value() == "expired":
            return queryset.filter(revoked_at__isnull=True, expires_at__lte=now)
        if self.value() == "revoked":
            return queryset.filter(revoked_at__isnull=False)
        return queryset


class ApiKeyAdmin(PublishingAdmin, ConsoleAdmin):
    form = ApiKeyForm
    list_display: tuple[str, ...] = (
        "id_text",
        "tenant_name",
        "app_name",
        "name",
        "state",
        "created",
        "expires",
    )
    list_filter = (StateFilter, ("app__tenant", AutocompleteSelectFilter))
    list_select_related = ("app__tenant",)
    search_fields = ("id", "name", "app__name", "app__tenant__name")
    search_help_text = "Key id (the part after sk-tn-), name, app or tenant"
    actions_detail = ("rotate", "revoke")
    readonly_fields = ("id_text", "tenant_name", "app_name", "state", "created", "replacement")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("id_text", "state"),
                    ("tenant_name", "app_name"),
                    ("created", "replacement"),
                    "name",
                    "expires_at",
                )
            },
        ),
        (
            "What it may do",
            {
                "description": "Beside what the tenant may. Gateways refuse everything else at once.",
                "fields": (("aliases", "ip_ranges"),),
            },
        ),
        (
            "Limits of this key alone",
            {
                "description": "The tenant's limits hold for it as well. Empty: no limit of its own.",
                "fields": (
                    ("requests_per_minute", "tokens_per_minute"),
                    ("concurrency", "kv_budget_mib"),
                    ("daily_spend_limit", "monthly_spend_limit"),
                    "context_tokens",
                ),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[ApiKey]":
        queryset: QuerySet[ApiKey] = super().get_queryset(request)
        return queryset.select_related("app__tenant", "created_by", "replaced_by")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        form = super().get_form(request, obj, change, **kwargs)
        form.now = clock.now()
        return form

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if isinstance(obj, ApiKey) and obj.revoked_at is not None:
            return False  # nothing about it matters any more
        return bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False  # usage names keys: revoke instead

    @display(description="Key", ordering="id")
    def id_text(self, obj: ApiKey) -> str:
        return str(obj)

    @display(description="Tenant", ordering="app__tenant__name")
    def tenant_name(self, obj: ApiKey) -> str:
        return obj.app.tenant.name

    @display(description="App", ordering="app__name")
    def app_name(self, obj: ApiKey) -> str:
        return obj.app.name

    @display(description="State", label=STATE_LABELS)
    def state(self, obj: ApiKey) -> str:
        return selectors.key_state(obj, clock.now())

    @display(description="Created", ordering="created_at")
    def created(self, obj: ApiKey) -> str:
        by = f" by {obj.created_by}" if obj.created_by else ""
        return f"{obj.created_at:{TIME}}{by}"

    @display(description="Expires", ordering="expires_at", empty_value="never")
    def expires(self, obj: ApiKey) -> str | None:
        return f"{obj.expires_at:{TIME}}" if obj.expires_at else None

    @display(description="Replaced by", empty_value="not replaced")
    def replacement(self, obj: ApiKey) -> str | None:
        return str(obj.replaced_by) if obj.replaced_by else None

    # Making one

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        if not self.has_add_permission(request):
            raise PermissionDenied
        apps, back = _apps_asked_for(request)
        form = NewKeyForm(request.POST or None, apps=apps, initial={"app": apps.first()})
        if form.is_valid():
            values = {name: value for name, value in form.cleaned_data.items() if value is not None}
            try:
                return self._issue(request, back, values)
            except TenantError as error:
                form.add_error(_FIELD_OF.get(error.code), error.message)
        says = () if apps.exists() else ("There is no app yet to own a key. Add one to the tenant first.",)
        question = Question(title="New API key", button="Create key", back=back, says=says, form=form)
        return ask(self, request, question)

    def _issue(self, request: HttpRequest, back: str, values: dict[str, Any]) -> HttpResponse:
        with publishing(request):
            issued = services.issue_key(now=clock.now(), user=_user(request), **values)
            self.log_addition(request, issued.key, f"Created for {issued.key.app}.")
        return self._reveal(request, issued, back, says=())

    def _reveal(
        self, request: HttpRequest, issued: services.IssuedKey, back: str, *, says: tuple[str, ...]
    ) -> HttpResponse:
        key = issued.key
        secret = Secret(
            title=f"New key for {key.app.tenant.name}",
            secret=issued.secret,
            back=back,
            back_label="I have copied it",
            says=(
                "Whoever has it spends on this tenant's account. If it gets lost, rotate the key.",
                *says,
            ),
            lines=(("App", key.app.name), ("Key id", key.pk), ("Expires", self.expires(key) or "never")),
        )
        return show_once(self, request, secret)

    # Rotating and revoking

    def has_rotate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_add_permission(request) and _is_usable(object_id, clock.now(), replaced=False)

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(super().has_change_permission(request)) and _is_usable(object_id, clock.now())

    @action(description="Rotate", url_path="rotate", permissions=["rotate"], icon="autorenew")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = _key(object_id)
        form = RotateForm(request.POST or None)
        back = reverse("admin:tenants_apikey_change", args=[object_id])
        if form.is_valid():
            overlap = timedelta(hours=form.cleaned_data["hours"])
            try:
                with publishing(request):
                    issued = services.rotate_key(
                        key=key, now=clock.now(), user=_user(request), overlap=overlap
                    )
                    self.log_change(request, key, f"Rotated: {issued.key.pk} follows.")
            except TenantError as error:
                form.add_error(None, error.message)
            else:
                key.refresh_from_db()
                says = (f"The old key {key} works until {self.expires(key)}.",)
                back = reverse("admin:tenants_apikey_change", args=[issued.key.pk])
                return self._reveal(request, issued, back, says=says)
        question = Question(
            title=f"Rotate {key}?",
            button="Create the new key",
            back=back,
            says=(
                f"{key.app.name} of {key.app.tenant.name} gets a new key with the same limits and expiry. "
                "The old one keeps working for a while and then expires by itself.",
            ),
            form=form,
        )
        return ask(self, request, question)

    @action(
        description="Revoke",
        url_path="revoke",
        permissions=["revoke"],
        icon="key_off",
        variant=ActionVariant.DANGER,
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = _key(object_id)
        back = reverse("admin:tenants_apikey_change", args=[object_id])
        now = clock.now()
        if request.method == "POST":
            with publishing(request):
                services.revoke_key(key=key, now=now)
                self.log_change(request, key, "Revoked.")
            messages.success(request, f"{key} is revoked: requests with it are refused from now on.")
            return HttpResponseRedirect(back)
        others = selectors.other_usable_keys(key=key, now=now)
        rest = (
            f"The app has {count(others, 'other usable key')} and goes on with it."
            if others
            else "It is the app's only usable key: the app stops working."
        )
        question = Question(
            title=f"Revoke {key}?",
            button="Revoke for good",
            back=back,
            says=(
                f"Requests of {key.app.name} ({key.app.tenant.name}) with this key are refused at once.",
                rest,
                "Requests that run already are finished and billed. This cannot be undone; "
                "to change over without a break, rotate the key instead.",
            ),
            danger=True,
        )
        return ask(self, request, question)


_FIELD_OF = {"expiry_in_the_past": "expires_at", "alias_unknown": "aliases"}


def _key(object_id: str) -> ApiKey:
    return get_object_or_404(ApiKey.objects.select_related("app__tenant"), pk=object_id)


def _is_usable(object_id: Any, now: datetime, *, replaced: bool | None = None) -> bool:
    """``object_id`` is a key in actions and an object elsewhere. ``replaced=False`` asks that it is not."""
    if object_id is None:
        return True
    keys = ApiKey.objects.filter(selectors.usable(now), pk=getattr(object_id, "pk", object_id))
    return keys.exists() if replaced is None else keys.filter(replaced_by__isnull=not replaced).exists()


def _apps_asked_for(request: HttpRequest) -> tuple["QuerySet[App]", str]:
    """The apps that ``?app=`` or ``?tenant=`` leave to choose from, and the page to go back to."""
    apps = App.objects.select_related("tenant")
    if app_id := _uuid(request.GET.get("app")):
        return apps.filter(pk=app_id), reverse("admin:tenants_app_change", args=[app_id])
    if tenant_id := _uuid(request.GET.get("tenant")):
        back = reverse("admin:tenants_tenant_change", args=[tenant_id])
        return apps.filter(tenant=tenant_id), f"{back}#dataset-apikey"
    return apps, reverse("admin:tenants_apikey_changelist")


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


def _user(request: HttpRequest) -> Any:
    return request.user


admin.site.register(ApiKey, ApiKeyAdmin)
