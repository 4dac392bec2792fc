"""Forms of the tenant pages; what they refuse, they refuse with what to do."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelect2Widget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from portal.adapters.selectors import misfits
from portal.core.fields import LinesField
from portal.fleet.models import Pool
from portal.tenants.errors import TenantError
from portal.tenants.limits import NAMES
from portal.tenants.models import ApiKey, App, Tenant
from portal.tenants.services import require_own_aliases
from portal.tenants.validators import validate_alias_names, validate_networks
from portal.tiers.forms import LimitsForm, percentages_field

MAX_LISTED = 3
MAX_OVERLAP = timedelta(days=30)


class TenantForm(LimitsForm):
    alert_percentages = percentages_field("Of its spend limits: 50, 80, 100. Empty: as its tier.")

    class Meta:
        model = Tenant
        fields = "__all__"

    def clean_pool(self) -> Pool:
        pool: Pool = self.cleaned_data["pool"]
        broken = misfits(tenant=self.instance, pool=pool) if self.instance.pk and self.initial else []
        if broken:
            names = ", ".join(alias.name for alias in broken[:MAX_LISTED])
            message = (
                f"{pool.name} cannot serve the adapters behind {names}. Give these aliases a pool of their "
                "own or another version first."
            )
            raise forms.ValidationError(message, code="pool_cannot_serve")
        return pool


class AppForm(LimitsForm):
    class Meta:
        model = App
        fields = "__all__"


ALIASES_HELP = "Names of the tenant's models that it may use, one on each line. Empty: all of them."
NETWORKS_HELP = (
    "Networks from which it may be used, one on each line, such as 192.0.2.0/24 or 2001:db8::/32. "
    "Empty: from anywhere."
)


def _count(label: str, **options: Any) -> forms.IntegerField:
    widget = UnfoldAdminIntegerFieldWidget
    return forms.IntegerField(
        label=label, min_value=1, max_value=2**31 - 1, required=False, widget=widget, **options
    )


def _money(label: str, **options: Any) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        min_value=0,
        max_digits=14,
        decimal_places=6,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget,
        **options,
    )


class KeyFields(forms.Form):
    """What can be said about a key when it is made."""

    name = forms.CharField(
        max_length=120,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Where it will be used, for example “staging server”.",
    )
    expires_at = forms.SplitDateTimeField(
        label="Expires", required=False, widget=UnfoldAdminSplitDateTimeWidget, help_text="Empty: never. UTC."
    )
    aliases = LinesField(label="Models", rows=2, help_text=ALIASES_HELP)
    ip_ranges = LinesField(label="IP ranges", rows=2, nothing=[], help_text=NETWORKS_HELP)
    requests_per_minute = _count("Requests per minute")
    tokens_per_minute = _count("Tokens per minute")
    concurrency = _count("Requests at once")
    daily_spend_limit = _money("Daily spend limit")
    monthly_spend_limit = _money(
        "Monthly spend limit",
        help_text="Limits of this key alone; the tenant's hold for it as well. Empty: no limit of its own.",
    )

    def clean_aliases(self) -> list[str] | None:
        names: list[str] | None = self.cleaned_data["aliases"]
        validate_alias_names(names)
        return names

    def clean_ip_ranges(self) -> list[str]:
        networks: list[str] = self.cleaned_data["ip_ranges"]
        validate_networks(networks)
        return networks


class NewKeyForm(KeyFields):
    """A key for one of ``apps``."""

    app = forms.ModelChoiceField(queryset=App.objects.none(), widget=UnfoldAdminSelect2Widget)
    field_order = ("app", "name", "expires_at")

    def __init__(self, *args: Any, apps: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["app"]
        field.queryset = apps


class RotateForm(forms.Form):
    hours = forms.IntegerField(
        label="The old key works for another … hours",
        min_value=0,
        max_value=int(MAX_OVERLAP.total_seconds()) // 3600,
        initial=24,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="So that the app can change over without a break. At most 720 (30 days).",
    )


class ApiKeyForm(LimitsForm):
    """Changes to a key that exists. ``now`` is set by the page."""

    now: datetime
    aliases = LinesField(label="Models", help_text=ALIASES_HELP)
    ip_ranges = LinesField(label="IP ranges", nothing=[], help_text=NETWORKS_HELP)

    class Meta:
        model = ApiKey
        fields = ("name", "expires_at", "aliases", "ip_ranges", *NAMES)

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data.get("expires_at")
        if expires_at is not None and "expires_at" in self.changed_data and expires_at <= self.now:
            message = "This moment is past. To stop the key at once, revoke it."
            raise forms.ValidationError(message, code="expiry_in_the_past")
        return expires_at

    def clean_aliases(self) -> list[str] | None:
        names: list[str] | None = self.cleaned_data["aliases"]
        validate_alias_names(names)
        try:
            require_own_aliases(app=self.instance.app, aliases=names)
        except TenantError as error:
            raise forms.ValidationError(error.message, code=error.code) from error
        return names
