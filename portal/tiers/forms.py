"""Forms with limits."""

from typing import Any

from django import forms

from portal.core.words import plain
from portal.tiers.models import Tier


class LimitsForm(forms.ModelForm[Any]):
    """Shows money as people write it: 50, not 50.000000."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        money = self.initial.get("monthly_spend_limit")
        if money is not None:
            self.initial["monthly_spend_limit"] = plain(money)


class TierForm(LimitsForm):
    class Meta:
        model = Tier
        fields = "__all__"  # noqa: DJ007 - the page's fieldsets name them
