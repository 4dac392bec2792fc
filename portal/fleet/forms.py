"""Forms of the fleet pages."""

from datetime import datetime
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from portal.adapters.selectors import broken_by
from portal.core.words import count
from portal.fleet.models import ENDPOINTS, NodeRate, Pool


class PoolForm(forms.ModelForm[Pool]):
    endpoints = forms.MultipleChoiceField(
        choices=[(name, name) for name in ENDPOINTS], widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = Pool
        fields = "__all__"  # noqa: DJ007 - the page's fieldsets name them

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        base_model, rank = data.get("base_model"), data.get("max_lora_rank")
        if self.instance.pk and base_model and rank:
            aliases = list(broken_by(pool=self.instance, base_model=base_model, max_lora_rank=rank))
            if aliases:
                tenants = sorted({alias.tenant.name for alias in aliases})
                message = (
                    f"{count(len(aliases), 'alias', 'aliases')} of {', '.join(tenants[:3])}"
                    f"{' and others' if len(tenants) > 3 else ''} could not be served any more. "  # noqa: PLR2004
                    "Make a new pool and move them there, or point them to other versions first."
                )
                raise forms.ValidationError(message, code="pool_in_use")
        return data


class NodeRateForm(forms.ModelForm[NodeRate]):
    """``now`` is set by the page."""

    now: datetime

    class Meta:
        model = NodeRate
        fields = ("pool", "hourly_rate", "currency", "effective_from")

    def clean_currency(self) -> str:
        currency = str(self.cleaned_data["currency"]).upper()
        if len(currency) != len("USD") or not (currency.isascii() and currency.isalpha()):
            message = "Three letters, such as USD or EUR."
            raise forms.ValidationError(message, code="currency_invalid")
        return currency

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        pool, start = data.get("pool"), data.get("effective_from")
        others = NodeRate.objects.filter(pool=pool).exclude(pk=self.instance.pk)
        if pool and start and start < self.now and others.exists():
            message = "Hours may be billed already: choose a later moment."
            self.add_error("effective_from", forms.ValidationError(message, code="node_rate_in_the_past"))
        return data
