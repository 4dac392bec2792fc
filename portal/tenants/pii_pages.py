"""What a PII policy does to a text. The text comes by POST and goes with the answer: nothing keeps it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from gateway_hooks.contract.pii import PiiPolicy, PiiPolicyError
from gateway_hooks.pii.detect import detect
from gateway_hooks.pii.errors import PiiError
from gateway_hooks.pii.masker import Masker
from gateway_hooks.pii.policy import CompiledPolicy, compile_policy
from gateway_hooks.pii.spans import Span
from portal.tenants import configurations
from portal.tenants.models import Tenant
from portal.tenants.policy_fields import ACTIONS, PolicyForm, policy_initial
from portal.tenants.tabs import CONFIGURATION, show_tab, tenant_for
from portal.tiers.validators import policy_of, validate_pii_policy

MAX_TEXT = 20_000
IN_FORCE, DRAFT, TIER, HERE = "in_force", "draft", "tier", "here"


class TryForm(PolicyForm):
    text = forms.CharField(
        label="Text",
        max_length=MAX_TEXT,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 7, "autocomplete": "off", "spellcheck": "false"}),
        help_text=f"At most {MAX_TEXT:,} characters. It is not stored, logged or sent to any model.",
    )
    which = forms.ChoiceField(
        label="Policy",
        choices=[
            (IN_FORCE, "in force for this tenant"),
            (DRAFT, "of the draft"),
            (TIER, "of its tier"),
            (HERE, "chosen below"),
        ],
        widget=UnfoldAdminSelectWidget,
    )


@dataclass(frozen=True)
class Piece:
    """A stretch of the text; ``entity`` is empty where nothing was found."""

    text: str
    entity: str = ""
    action: str = ""

    @property
    def does(self) -> str:
        return ACTIONS.get(self.action, self.action)


@dataclass(frozen=True)
class Trial:
    """``masked`` is None for a request that would be refused, with the reason in ``refused``."""

    pieces: list[Piece]
    counts: list[tuple[str, int]]
    masked: str | None
    refused: str
    needs_ner: bool

    def __repr__(self) -> str:  # never into a log or a traceback
        return "Trial(…)"


@sensitive_variables("text")
def try_policy(text: str, policy: PiiPolicy) -> Trial:
    """Raises ``PiiPolicyError``. The deeper tier is not asked."""
    compiled = compile_policy(policy)
    spans = detect(text, compiled)
    masker = Masker(compiled, secrets.token_bytes(32))
    masked, refused = None, ""
    try:
        (masked,) = masker.mask_texts([text])
    except PiiError as error:
        refused = str(error)
    return Trial(
        pieces=_pieces(text, spans, compiled),
        counts=_counts(spans),
        masked=masked,
        refused=refused,
        needs_ner=bool(compiled.ner),
    )


def _pieces(text: str, spans: Sequence[Span], compiled: CompiledPolicy) -> list[Piece]:
    found, end = [], 0
    for span in spans:
        if span.start > end:
            found.append(Piece(text[end : span.start]))
        action = compiled.actions.get(span.entity, "mask")
        found.append(Piece(text[span.start : span.end], span.entity, action))
        end = span.end
    return [*found, Piece(text[end:])] if end < len(text) else found


def _counts(spans: Sequence[Span]) -> list[tuple[str, int]]:
    names = [span.entity for span in spans]
    return sorted(((name, names.count(name)) for name in set(names)), key=lambda pair: (-pair[1], pair[0]))


class PiiPages:
    """Mixed into the tenant's admin."""

    def get_urls(self) -> list[Any]:
        view: Any = self.admin_site.admin_view  # type: ignore[attr-defined]
        own = [path("<uuid:pk>/pii/", view(self.pii_page), name="tenants_tenant_pii")]
        return own + super().get_urls()  # type: ignore[misc,no-any-return]

    @method_decorator(sensitive_post_parameters())
    def pii_page(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        tenant = tenant_for(request, pk, "tenants.view_tenantconfiguration")
        policies = _policies(tenant)
        initial = {"which": IN_FORCE, **policy_initial(policies[IN_FORCE])}
        form = TryForm(request.POST or None, initial=initial)
        if DRAFT not in policies:
            field: Any = form.fields["which"]
            field.choices = [choice for choice in field.choices if choice[0] != DRAFT]
        trial = _try(form, policies) if form.is_valid() else None
        back = reverse("admin:tenants_tenant_configuration", args=[pk])
        content = {"form": form, "trial": trial, "back": back, "nothing": policies[IN_FORCE] is None}
        response = show_tab(
            self,  # type: ignore[arg-type]
            request,
            tenant,
            CONFIGURATION,
            "admin/tenants/tenant/pii.html",
            content,
            status=422 if form.errors else 200,
        )
        response["Cache-Control"] = "no-store"
        return response


def _policies(tenant: Tenant) -> dict[str, Any]:
    """The stored policies that can be tried; None masks nothing."""
    tiers = tenant.tier.pii_policy
    published, draft = configurations.published(tenant), configurations.draft_of(tenant)
    found = {TIER: tiers, IN_FORCE: published.content.get("pii", tiers) if published else tiers}
    if draft is not None:
        found[DRAFT] = draft.content.get("pii", tiers)
    return found


def _try(form: TryForm, policies: dict[str, Any]) -> Trial | None:
    which = form.cleaned_data["which"]
    raw = form.policy() if which == HERE else policies[which]
    try:
        validate_pii_policy(raw)
        policy = PiiPolicy(entities={}) if raw is None else policy_of(raw)
        return try_policy(form.cleaned_data["text"], policy)
    except ValidationError as error:
        form.add_error("which", error)
    except PiiPolicyError as error:
        form.add_error("which", str(error))
    return None
