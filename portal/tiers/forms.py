"""Forms with limits."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

from portal.core.words import plain
from portal.tiers.models import Tier
from portal.tiers.validators import validate_percentages

MONEY_FIELDS = frozenset({"daily_spend_limit", "monthly_spend_limit", "end_user_daily_spend_limit"})


class PercentagesField(forms.CharField):
    """``50, 80, 100`` for a list of whole numbers; empty is None."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(str(one) for one in value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        parts = [part.strip(" %") for part in str(value or "").split(",") if part.strip(" %")]
        if not all(part.isascii() and part.isdigit() for part in parts):
            message = "Write whole percentages between commas, such as 50, 80, 100."
            raise forms.ValidationError(message, code="percentages_invalid")
        found = [int(part[:9]) for part in parts] or None
        validate_percentages(found or [])
        return found

    def run_validators(self, value: Any) -> None:
        """Done on the list."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial) != (data or None))


def percentages_field(help_text: str) -> PercentagesField:
    return PercentagesField(
        label="Budget alerts (%)", required=False, widget=UnfoldAdminTextInputWidget, help_text=help_text
    )


class LimitsForm(forms.ModelForm[Any]):
    """Shows money as people write it: 50, not 50.000000."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in MONEY_FIELDS & self.initial.keys():
            if self.initial[name] is not None:
                self.initial[name] = plain(self.initial[name])


class TierForm(LimitsForm):
    alert_percentages = percentages_field("Of a daily or monthly spend limit: 50, 80, 100. Empty: no alerts.")

    class Meta:
        model = Tier
        fields = "__all__"  # noqa: DJ007 - the page's fieldsets name them

    def clean_alert_percentages(self) -> list[int]:
        return self.cleaned_data.get("alert_percentages") or []
