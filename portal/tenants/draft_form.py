"""The editor of a configuration's draft."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from gateway_hooks.configuration.parameters import UNSENT
from portal.core.fields import LinesField
from portal.fleet.models import ENDPOINTS
from portal.tenants.policy_fields import PolicyForm, policy_initial

TIERS, OWN, NOTHING = "tier", "own", "nothing"
_ENDPOINT_WORDS = {
    "chat.completions": "Chat completions",
    "completions": "Completions",
    "embeddings": "Embeddings",
    "responses": "Responses",
    "messages": "Messages",
}


class SeenForm(forms.Form):
    """What a page showed, so that nothing else is done than what was looked at."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)


class DraftForm(PolicyForm):
    """``content()`` is what the service takes; what that refuses is put at its field by ``refuse``."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    note = forms.CharField(
        max_length=300,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="What changes and why, for the list of versions.",
    )
    system_prompt = forms.CharField(
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}),
        help_text="Comes before everything that the tenant's apps send. Empty: none.",
    )
    defaults = LinesField(
        label="Defaults",
        help_text="Parameters set where an app sends none, one on each line: temperature = 0.2",
    )
    stop = forms.CharField(
        label="Stop words",
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="One on each line; \\n stands for a line break.",
    )
    max_output_tokens = forms.IntegerField(
        label="Output cap (tokens per request)",
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="At most the tier's. Empty: the tier's.",
    )
    endpoints = forms.MultipleChoiceField(
        choices=[(name, _ENDPOINT_WORDS[name]) for name in ENDPOINTS],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None ticked: all of them are allowed.",
    )
    tools_mode = forms.ChoiceField(
        label="Tools",
        choices=[("any", "any tool may be offered to the model"), ("only", "only those named below")],
        widget=UnfoldAdminSelectWidget,
    )
    tools = LinesField(
        label="Names of allowed tools",
        nothing=[],
        help_text="Functions' names, one on each line. “Only those named” with none named: no tools at all.",
    )
    pii_mode = forms.ChoiceField(
        label="Personal data",
        choices=[
            (TIERS, "as the tier says"),
            (OWN, "a policy of its own, below"),
            (NOTHING, "mask nothing, whatever the tier says"),
        ],
        widget=UnfoldAdminSelectWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in UNSENT:
            for end, word in (("low", "least"), ("high", "greatest")):
                attrs = {"class": "tn-small", "step": "any", "placeholder": "none"}
                self.fields[f"bound_{name}_{end}"] = forms.FloatField(
                    label=f"{name}, {word}", required=False, widget=forms.NumberInput(attrs=attrs)
                )

    def bounds(self) -> list[tuple[str, forms.BoundField, forms.BoundField]]:
        return [(name, self[f"bound_{name}_low"], self[f"bound_{name}_high"]) for name in UNSENT]

    def clean_defaults(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for line in self.cleaned_data["defaults"] or ():
            name, equals, value = (part.strip() for part in line.partition("="))
            if not (name and equals and value):
                message = f"“{line[:60]}” is not a parameter, =, and a value, such as temperature = 0.2"
                raise ValidationError(message, code="default_line")
            found[name] = _value(value)
        return found

    def clean_stop(self) -> list[str]:
        lines = self.cleaned_data["stop"].splitlines()
        return [line.replace("\\n", "\n") for line in lines if line]

    def content(self) -> dict[str, Any]:
        data = self.cleaned_data
        found: dict[str, Any] = {
            "system_prompt": data["system_prompt"].replace("\r\n", "\n"),
            "defaults": data["defaults"],
            "bounds": self._bounds(),
            "stop": data["stop"],
            "max_output_tokens": data["max_output_tokens"],
            "endpoints": data["endpoints"] or None,
        }
        content = {name: value for name, value in found.items() if value}
        if data["tools_mode"] == "only":
            content["tools"] = data["tools"]
        if data["pii_mode"] != TIERS:
            content["pii"] = self.policy() if data["pii_mode"] == OWN else None
        return content

    def _bounds(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for name in UNSENT:
            ends = {end: self.cleaned_data[f"bound_{name}_{end}"] for end in ("low", "high")}
            if given := {end: value for end, value in ends.items() if value is not None}:
                found[name] = given
        return found

    def stale(self, message: str, seen: str) -> None:
        """Shows it again; it is saved over the draft of which ``seen`` is the digest."""
        self.add_error(None, message)
        self.data = self.data.copy()  # type: ignore[attr-defined]
        self.data["seen"] = seen  # type: ignore[index]

    def refuse(self, error: ValidationError) -> None:
        """Each message at the field that it speaks of."""
        for message in error.messages:
            field = message.split(" ")[0].partition(".")[0]
            if message.startswith("The PII policy"):
                field = "pii_mode"
            self.add_error(field if field in self.fields else None, message)


def draft_initial(content: Mapping[str, Any], note: str) -> dict[str, Any]:
    """What the editor shows of a stored content."""
    bounds = {
        f"bound_{name}_{end}": value
        for name, ends in content.get("bounds", {}).items()
        for end, value in ends.items()
    }
    mode = TIERS if "pii" not in content else NOTHING if content["pii"] is None else OWN
    return {
        **policy_initial(content.get("pii")),
        **bounds,
        "note": note,
        "system_prompt": content.get("system_prompt", ""),
        "defaults": [f"{name} = {json.dumps(value)}" for name, value in content.get("defaults", {}).items()],
        "stop": "\n".join(word.replace("\n", "\\n") for word in content.get("stop", ())),
        "max_output_tokens": content.get("max_output_tokens"),
        "endpoints": content.get("endpoints") or [],
        "tools_mode": "any" if content.get("tools") is None else "only",
        "tools": content.get("tools") or [],
        "pii_mode": mode,
    }


def _value(text: str) -> Any:
    """As JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
