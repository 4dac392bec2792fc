"""A PII policy as form fields: a choice for each entity, and own patterns and deny lists as lines."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldBooleanSwitchWidget

from gateway_hooks.contract.pii import ENTITIES, NER_ENTITIES
from portal.core.fields import LinesField

ACTIONS = {
    "mask": "mask and restore",
    "redact": "mask for good",
    "block": "block the request",
}
ENTITY_CHOICES = [("", "let through"), *ACTIONS.items()]
_FIRST_NATIONAL = ENTITIES.index("US_SSN")
COMMON = ENTITIES[:_FIRST_NATIONAL]
NATIONAL = tuple(name for name in ENTITIES[_FIRST_NATIONAL:] if name not in NER_ENTITIES)
_ACTION_NAMES = (*ACTIONS, "allow")


class PolicyForm(forms.Form):
    """``policy()`` is a ``contract.pii.PiiPolicy`` as JSON; its validator says whether it can be used."""

    patterns = LinesField(
        label="Own patterns",
        nothing=[],
        help_text=(
            "One on each line: a name, what to do (mask, redact, block), and an RE2 expression. "
            "For example: CASE_NUMBER mask CASE-[0-9]{6}"
        ),
    )
    deny_lists = LinesField(
        label="Deny lists",
        nothing=[],
        help_text=(
            "One on each line: a name, what to do, and words or phrases between commas, in any case. "
            "For example: PROJECTS redact Blue Whale, Red Kite"
        ),
    )
    completions = forms.BooleanField(
        label="Mask what the model itself writes too", required=False, widget=UnfoldBooleanSwitchWidget
    )
    ner = forms.BooleanField(
        label="Look for names, places and organizations with the deeper tier",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Needs the language model to be installed at the gateways; requests take longer.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ENTITIES:
            widget = forms.Select(attrs={"class": "tn-small"})
            self.fields[f"entity_{name}"] = forms.ChoiceField(
                label=name, choices=ENTITY_CHOICES, required=False, widget=widget
            )

    def entity_groups(self) -> Iterable[tuple[str, list[forms.BoundField], bool]]:
        """(title, fields, whether one of them is set)."""
        groups = (
            ("Everywhere", COMMON),
            ("National numbers and documents", NATIONAL),
            ("Deeper tier", NER_ENTITIES),
        )
        for title, names in groups:
            fields = [self[f"entity_{name}"] for name in names]
            yield title, fields, any(field.value() for field in fields)

    def clean_patterns(self) -> list[dict[str, str]]:
        return [
            {"name": name, "action": action, "pattern": rest}
            for name, action, rest in map(_parts, self.cleaned_data["patterns"])
        ]

    def clean_deny_lists(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "action": action,
                "words": [word.strip() for word in rest.split(",") if word.strip()],
            }
            for name, action, rest in map(_parts, self.cleaned_data["deny_lists"])
        ]

    def policy(self) -> dict[str, Any]:
        data = self.cleaned_data
        chosen = {name: data[f"entity_{name}"] for name in ENTITIES if data.get(f"entity_{name}")}
        return {
            "entities": chosen,
            "patterns": data["patterns"],
            "deny_lists": data["deny_lists"],
            "completions": data["completions"],
            "ner": data["ner"],
        }


def policy_initial(policy: Mapping[str, Any] | None) -> dict[str, Any]:
    """What ``PolicyForm`` shows of a stored policy."""
    policy = policy or {}
    shown = {
        f"entity_{name}": action for name, action in policy.get("entities", {}).items() if action != "allow"
    }
    patterns = [f"{one['name']} {one['action']} {one['pattern']}" for one in policy.get("patterns", ())]
    denied = [
        f"{one['name']} {one['action']} {', '.join(one['words'])}" for one in policy.get("deny_lists", ())
    ]
    return {
        **shown,
        "patterns": patterns,
        "deny_lists": denied,
        "completions": policy.get("completions", False),
        "ner": policy.get("ner", False),
    }


def _parts(line: str) -> tuple[str, str, str]:
    """Name, action and the rest. Raises ``ValidationError`` that shows how to write it."""
    pieces = line.split(maxsplit=2)
    if len(pieces) < 3 or pieces[1] not in _ACTION_NAMES:  # noqa: PLR2004 - name, action, rest
        message = f"“{line[:60]}” is not NAME, then mask, redact or block, then what to look for."
        raise ValidationError(message, code="policy_line")
    return pieces[0], pieces[1], pieces[2]
