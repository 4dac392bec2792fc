"""The pages of token issuers: who signs tokens for a tenant. Secrets go in and are never shown."""

from typing import Any, ClassVar

from django.contrib import messages
from django.db.models import QuerySet, URLField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminURLInputWidget

from portal.core import clock
from portal.core.admin import ConsoleAdmin
from portal.core.decorators import action, display
from portal.core.pages import Question, ask
from portal.core.words import count
from portal.snapshots.admin import publishing
from portal.tenants import issuers
from portal.tenants.app_pages import LIMIT_ROWS
from portal.tenants.errors import TenantError
from portal.tenants.issuer_forms import IssuerForm, SecretForm
from portal.tenants.models import TokenIssuer
from portal.tenants.validators import SHARED_SECRET_ALGORITHMS

STATES = {"taken": "success", "switched off": "default", "keys not read": "danger"}


class TokenIssuerAdmin(ConsoleAdmin):
    form = IssuerForm
    list_display = ("name", "tenant", "app", "issuer", "algorithms_text", "state")
    list_filter = (("tenant", AutocompleteSelectFilter), "active")
    list_select_related = ("tenant", "app__tenant")
    search_fields = ("name", "tenant__name", "issuer", "audience")
    autocomplete_fields = ("tenant", "app")
    actions_detail = ("rotate_secret", "refresh_keys")
    formfield_overrides: ClassVar[Any] = {
        URLField: {"widget": UnfoldAdminURLInputWidget, "assume_scheme": "https"}
    }
    readonly_fields = ("keys_text",)
    fieldsets = (
        (None, {"fields": (("tenant", "app"), ("name", "active"), ("issuer", "audience"))}),
        (
            "Signature",
            {
                "description": (
                    "Either a shared secret (HS256…512) or public keys (all others), never both: with "
                    "both, a public key could be taken for a secret."
                ),
                "fields": (("algorithms", "secret"), ("jwks_url", "jwks"), "keys_text"),
            },
        ),
        (
            "What tokens may say",
            {
                "description": "Names of the claims that are read; empty: that one is not.",
                "fields": (
                    ("claim_app", "claim_models"),
                    ("claim_tenant", "claim_end_user"),
                    ("claim_budget", "ip_ranges"),
                    ("leeway_seconds", "max_age_seconds"),
                ),
            },
        ),
        (
            "Limits of all its tokens together",
            {
                "description": (
                    "All subjects share them, beside the app's and the tenant's limits. What each subject "
                    "may use by itself is set in the tier, for each end user."
                ),
                "fields": LIMIT_ROWS,
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> "QuerySet[TokenIssuer]":
        queryset: QuerySet[TokenIssuer] = super().get_queryset(request)
        return queryset.select_related("tenant", "app__tenant")

    def get_readonly_fields(self, _request: HttpRequest, obj: TokenIssuer | None = None) -> tuple[str, ...]:
        return ("tenant", *self.readonly_fields) if obj else self.readonly_fields

    def get_fieldsets(self, request: HttpRequest, obj: TokenIssuer | None = None) -> Any:
        """A secret is given when an issuer is made; later it is rotated."""
        found = super().get_fieldsets(request, obj)
        return _without_secret(found) if obj else found

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        if tenant := request.GET.get("tenant__id__exact"):
            initial["tenant"] = tenant
        return initial

    def save_model(self, request: HttpRequest, obj: TokenIssuer, form: Any, change: bool) -> None:  # noqa: FBT001
        with publishing(request):
            saved = form.do(now=clock.now(), user=request.user, change=change)
        obj.pk = saved.pk
        obj.__dict__.update({name: value for name, value in saved.__dict__.items() if name != "_state"})
        obj._state.adding = False  # noqa: SLF001 - Django documents it

    def delete_model(self, request: HttpRequest, obj: TokenIssuer) -> None:
        with publishing(request):
            issuers.delete_issuer(issuer=obj)

    def delete_queryset(self, request: HttpRequest, queryset: "QuerySet[TokenIssuer]") -> None:
        with publishing(request):
            for issuer in queryset:
                issuers.delete_issuer(issuer=issuer)

    @display(description="Algorithms")
    def algorithms_text(self, obj: TokenIssuer) -> str:
        return ", ".join(obj.algorithms)

    @display(description="State", label=STATES)
    def state(self, obj: TokenIssuer) -> str:
        if not obj.active:
            return "switched off"
        return "keys not read" if obj.jwks_url and not obj.jwks else "taken"

    @display(description="Known now")
    def keys_text(self, obj: TokenIssuer) -> str:
        if obj._state.adding:  # noqa: SLF001 - Django documents it; the id is there from the start
            return "Public keys from an address are read after saving, and then every few minutes."
        if _shares_secret(obj):
            return (
                f"{count(len(obj.sealed_secrets), 'shared secret')}, sealed. None is ever shown; "
                "“Rotate secret” puts a new one in front."
            )
        ids = ", ".join(str(key.get("kid", "without id")) for key in obj.jwks)
        known = f"{count(len(obj.jwks), 'public key')}: {ids}." if obj.jwks else "No public key yet."
        if not obj.jwks_url:
            return known
        checked = (
            f" Last asked {obj.jwks_checked_at:%Y-%m-%d %H:%M} UTC."
            if obj.jwks_checked_at
            else " Not asked yet."
        )
        return known + checked + (f" That failed: {obj.jwks_error}" if obj.jwks_error else "")

    def has_rotate_secret_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(self.has_change_permission(request)) and _kind(object_id) in {None, "secret"}

    def has_refresh_keys_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(self.has_change_permission(request)) and _kind(object_id) in {None, "address"}

    @action(
        description="Read keys now",
        url_path="refresh-keys",
        permissions=["refresh_keys"],
        icon="sync",
    )
    def refresh_keys(self, request: HttpRequest, object_id: str) -> HttpResponse:
        issuer = get_object_or_404(TokenIssuer, pk=object_id)
        back = reverse("admin:tenants_tokenissuer_change", args=[object_id])
        if request.method != "POST":
            question = Question(
                title=f"Read the public keys of {issuer} now?",
                button="Read them",
                back=back,
                says=(
                    f"{issuer.jwks_url} is asked. Keys that it no longer lists are no longer taken; if it "
                    "does not answer, the known ones stay.",
                ),
            )
            return ask(self, request, question)
        issuer = issuers.refresh_jwks(issuer=issuer, now=clock.now())
        if issuer.jwks_error:
            messages.error(request, f"The keys could not be read, the known ones stay: {issuer.jwks_error}")
        else:
            messages.success(
                request, f"{count(len(issuer.jwks), 'public key')} read; gateways have them now."
            )
        self.log_change(request, issuer, "Public keys read.")
        return HttpResponseRedirect(back)

    @action(
        description="Rotate secret",
        url_path="rotate-secret",
        permissions=["rotate_secret"],
        icon="autorenew",
        variant=ActionVariant.PRIMARY,
    )
    def rotate_secret(self, request: HttpRequest, object_id: str) -> HttpResponse:
        issuer = get_object_or_404(TokenIssuer.objects.select_related("tenant"), pk=object_id)
        back = reverse("admin:tenants_tokenissuer_change", args=[object_id])
        form = SecretForm(request.POST or None)
        if form.is_valid():
            try:
                with publishing(request):
                    issuers.rotate_secret(issuer=issuer, **form.cleaned_data)
                    self.log_change(request, issuer, "Shared secret rotated.")
            except TenantError as error:
                form.add_error("secret", error.message)
            else:
                messages.success(request, "Tokens signed with the new secret are taken from now on.")
                return HttpResponseRedirect(back)
        question = Question(
            title=f"Rotate the shared secret of {issuer}",
            button="Take the new secret",
            back=back,
            says=("Nobody can read a secret here again, so keep it where tokens are signed.",),
            form=form,
        )
        return ask(self, request, question, status=422 if form.errors else 200)


def _shares_secret(issuer: TokenIssuer) -> bool:
    return set(issuer.algorithms) <= set(SHARED_SECRET_ALGORITHMS)


def _kind(object_id: Any) -> str | None:
    """How it signs; ``object_id`` is a key in actions and an object elsewhere."""
    if object_id is None:
        return None
    issuer = TokenIssuer.objects.filter(pk=getattr(object_id, "pk", object_id)).first()
    if issuer is None:
        return ""
    return "secret" if _shares_secret(issuer) else "address" if issuer.jwks_url else "keys"


def _without_secret(fieldsets: Any) -> Any:
    def rows(fields: Any) -> Any:
        return tuple("algorithms" if row == ("algorithms", "secret") else row for row in fields)

    return tuple((name, {**options, "fields": rows(options["fields"])}) for name, options in fieldsets)
