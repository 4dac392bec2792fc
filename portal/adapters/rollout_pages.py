"""Rolling an alias out: who gets which version, told in sentences before it is done."""

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminSelectWidget

from portal.adapters.errors import AdapterError
from portal.adapters.models import ROLLOUT_FIELDS, AdapterVersion, Alias, Track
from portal.adapters.rollouts import promote_canary
from portal.adapters.selectors import versions_of
from portal.adapters.services import set_alias
from portal.core.decorators import action
from portal.core.pages import Question, ask
from portal.core.words import plain
from portal.snapshots.admin import publishing

_RELATED = ("tenant__pool", "pool", *(f"{name}__adapter__tenant" for name in (
    "version", "canary_version", "shadow_version", "beta_version", "fallback_version"
)))  # fmt: skip


def _version(label: str, help_text: str) -> "forms.ModelChoiceField[AdapterVersion]":
    return forms.ModelChoiceField(
        label=label,
        queryset=AdapterVersion.objects.none(),
        required=False,
        empty_label="none",
        widget=UnfoldAdminSelectWidget,
        help_text=help_text,
    )


def _share(label: str, help_text: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        min_value=0,
        max_value=100,
        max_digits=5,
        decimal_places=2,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text=help_text,
    )


class RolloutForm(forms.Form):
    """``seen`` is the digest of the values whose sentences the reader has seen."""

    track = forms.ChoiceField(
        choices=Track.choices,
        widget=UnfoldAdminSelectWidget,
        help_text="“Stable” serves whatever is the stable version of the version's adapter, now and later.",
    )
    version = _version("Version", "None: the pool's base model.")
    canary_version = _version(
        "Canary version", "Takes its share of the conversations; each stays where it is."
    )
    canary_percent = _share("Canary share (%)", "0: no canary. In steps of 0.01.")
    shadow_version = _version("Shadow version", "Gets a copy that nobody waits for and nobody pays.")
    shadow_percent = _share("Shadow share (%)", "0: no copies. They cost GPU time.")
    beta_version = _version("Beta version", "For tenants that take beta versions.")
    fallback_version = _version("Fallback version", "Answers, marked as degraded, when the others cannot.")
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, alias: Alias, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alias = alias
        versions = versions_of(alias.tenant)
        for field in self.fields.values():
            if isinstance(field, forms.ModelChoiceField):
                field.queryset = versions

    def digest(self) -> str:
        names = sorted(set(self.fields) - {"seen"})
        values = [str(getattr(self.cleaned_data[name], "pk", self.cleaned_data[name])) for name in names]
        return hashlib.sha256("\n".join(values).encode()).hexdigest()[:16]


class RolloutPages:
    """Mixed into the aliases' admin."""

    def has_rollout_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        return request.user.has_perm("adapters.change_alias")

    @action(
        description="Roll out",
        url_path="rollout",
        permissions=["rollout"],
        icon="rocket_launch",
        variant=ActionVariant.PRIMARY,
    )
    def rollout(self, request: HttpRequest, object_id: str) -> HttpResponse:
        alias = get_object_or_404(Alias.objects.select_related(*_RELATED), pk=object_id)
        back = reverse("admin:adapters_alias_change", args=[object_id])
        form = RolloutForm(request.POST or None, alias=alias, initial=_initial(alias))
        says: Sequence[str] = ("Now: " + " ".join(rollout_words(alias)),)
        button = "See what will happen"
        if form.is_valid():
            if form.cleaned_data["seen"] == form.digest():
                if done := self._roll_out(request, alias, form):
                    return done
            else:
                says = ("After “Do it”: " + " ".join(rollout_words(_as_asked(alias, form))), *says)
                button = "Do it"
                form.data = {**form.data.dict(), "seen": form.digest()}  # type: ignore[attr-defined]
        question = Question(title=f"Roll out {alias}", button=button, back=back, says=says, form=form)
        return ask(self, request, question, status=422 if form.errors else 200)  # type: ignore[arg-type]

    def _roll_out(self, request: HttpRequest, alias: Alias, form: RolloutForm) -> HttpResponse | None:
        data = form.cleaned_data
        try:
            with publishing(request):
                done = set_alias(
                    tenant=alias.tenant,
                    name=alias.name,
                    version=data["version"],
                    pool=alias.pool,
                    track=data["track"],
                    rollout={name: data[name] for name in ROLLOUT_FIELDS},
                )
        except AdapterError as error:
            form.add_error(_FIELD_OF.get(error.code), error.message)
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            words = " ".join(rollout_words(done))
            self.log_change(request, alias, f"Rolled out. {words}"[:1000])  # type: ignore[attr-defined]
            messages.success(request, words)
            return HttpResponseRedirect(reverse("admin:adapters_alias_change", args=[alias.pk]))
        return None

    def has_promote_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        if not request.user.has_perm("adapters.change_alias"):
            return False
        pk = getattr(object_id, "pk", object_id)
        canaries = Alias.objects.filter(pk=pk, track=Track.PINNED, canary_version__isnull=False)
        return object_id is None or canaries.exists()

    @action(description="Promote canary", url_path="promote", permissions=["promote"], icon="upgrade")
    def promote(self, request: HttpRequest, object_id: str) -> HttpResponse:
        alias = get_object_or_404(Alias.objects.select_related(*_RELATED), pk=object_id)
        back = reverse("admin:adapters_alias_change", args=[object_id])
        if request.method == "POST":
            try:
                with publishing(request):
                    promoted = promote_canary(alias=alias)
                    self.log_change(request, alias, "Canary promoted.")  # type: ignore[attr-defined]
            except AdapterError as error:
                messages.error(request, error.message)
            else:
                messages.success(request, " ".join(rollout_words(promoted)))
            return HttpResponseRedirect(back)
        question = Question(
            title=f"Promote the canary of {alias}?",
            button="Promote it",
            back=back,
            says=(
                f"All conversations go to {_name(alias.canary_version)} from now on, also those that run on "
                f"{_name(alias.version)}. That one becomes the fallback, and there is no canary any more.",
            ),
        )
        return ask(self, request, question)  # type: ignore[arg-type]


_FIELD_OF = {
    "canary_version_missing": "canary_version",
    "shadow_version_missing": "shadow_version",
    "alias_follows_nothing": "track",
    "adapter_without_stable": "track",
}


def rollout_words(alias: Alias) -> list[str]:
    """Who gets what, in sentences."""
    own = _name(alias.version)
    if alias.track == Track.STABLE:
        own += " (the stable version)"
    words = [f"{alias.name} is answered by {own}."]
    if alias.canary_percent:
        words = [
            f"{plain(alias.canary_percent)} % of the conversations with {alias.name} are answered by the "
            f"canary {_name(alias.canary_version)}, each to its end, and "
            f"{plain(Decimal(100) - alias.canary_percent)} % by {own}."
        ]
    if alias.beta_version is not None:
        takes = "takes" if alias.tenant.beta else "does not take"
        words.append(f"Beta is {_name(alias.beta_version)}: {alias.tenant.name} {takes} beta versions.")
    if alias.shadow_percent:
        words.append(
            f"A copy of {plain(alias.shadow_percent)} % goes to {_name(alias.shadow_version)}; "
            "the tenant neither waits for it nor pays."
        )
    if alias.fallback_version is not None:
        words.append(f"When these cannot answer, {_name(alias.fallback_version)} does, marked as degraded.")
    return words


def _name(version: AdapterVersion | None) -> str:
    return f"{version.adapter.name} v{version.number}" if version else "the base model"


def _initial(alias: Alias) -> dict[str, Any]:
    names = ("track", "version", *ROLLOUT_FIELDS)
    initial = {name: getattr(alias, name) for name in names}
    shares = ("canary_percent", "shadow_percent")
    return initial | {name: plain(initial[name]) for name in shares}


def _as_asked(alias: Alias, form: RolloutForm) -> Alias:
    data = form.cleaned_data
    asked = Alias(tenant=alias.tenant, name=alias.name, pool=alias.pool, version=data["version"])
    asked.track = data["track"]
    for name in ROLLOUT_FIELDS:
        setattr(asked, name, data[name])
    if asked.track == Track.STABLE and asked.version and asked.version.adapter.stable_version:
        asked.version = asked.version.adapter.stable_version
    return asked
