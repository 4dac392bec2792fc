"""Forms of token issuers. What the service refuses is said on the form: it is asked before the saving."""

from datetime import datetime
from typing import Any

from django import forms
from django.db import transaction
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldBooleanSwitchWidget,
)

from portal.core import clock
from portal.core.fields import LinesField
from portal.tenants import issuers
from portal.tenants.errors import TenantError
from portal.tenants.limits import NAMES
from portal.tenants.models import TokenIssuer
from portal.tenants.validators import ALGORITHMS
from portal.tiers.forms import LimitsForm

_FIELD_OF = {
    "issuer_foreign_app": "app",
    "issuer_keys_mixed": "algorithms",
    "issuer_secret_missing": "secret",
    "issuer_secret_short": "secret",
    "issuer_keys_missing": "jwks_url",
    "issuer_keys_fetched": "jwks",
}
SECRET_HELP = "At least 32 bytes for HS256, 48 for HS384, 64 for HS512. Kept sealed and never shown."  # noqa: S105
_HELP = {
    "issuer": "Exactly as in the tokens' “iss”, such as https://login.example.com/.",
    "audience": "Exactly as in “aud”. Issuer and audience together belong to one tenant.",
    "jwks_url": "https address of a JWKS document; asked every few minutes.",
    "jwks": "Or the keys themselves: a JSON list of JWK objects, public parts only.",
    "leeway_seconds": "By how much the issuer's clock may differ.",
    "max_age_seconds": "Older tokens are refused, whatever they say themselves.",
    "claim_tenant": "Must name this tenant by id or slug. Another tenant's name is refused.",
    "claim_app": "Names an app of the tenant; tokens without it act for the app above.",
    "claim_models": "A list of aliases that the token may use.",
    "claim_budget": "Micro-currency per month for the token's subject.",
    "claim_end_user": "Who is counted as the end user.",
}


class IssuerForm(LimitsForm):
    algorithms = forms.MultipleChoiceField(
        choices=[(name, name) for name in ALGORITHMS],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Only tokens signed with one of these are taken.",
    )
    secret = forms.CharField(
        label="Shared secret",
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=SECRET_HELP,
    )
    ip_ranges = LinesField(
        label="IP ranges",
        nothing=[],
        help_text="Networks from which its tokens are taken, one on each line. Empty: from anywhere.",
    )

    class Meta:
        model = TokenIssuer
        fields = (
            *("tenant", "app", "name", "issuer", "audience", "algorithms", "jwks", "ip_ranges"),
            *("leeway_seconds", "max_age_seconds", "claim_tenant", "claim_app", "claim_models"),
            *("claim_budget", "claim_end_user", "active", *NAMES),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, words in _HELP.items():
            if name in self.fields:
                self.fields[name].help_text = words
        if self.instance.jwks_url and "jwks" in self.fields:
            self._leave_keys_to_the_address()

    def _leave_keys_to_the_address(self) -> None:
        """What was read stands on the page already; here it would come back when the form is saved late."""
        self.initial["jwks"] = []
        if self["jwks_url"].value():
            self.fields["jwks"].widget.attrs["readonly"] = True
            self.fields["jwks"].help_text = "Read from the address. To give them here, empty the address."

    def clean_jwks(self) -> list[Any]:
        return self.cleaned_data.get("jwks") or []

    def clean(self) -> dict[str, Any]:
        """Asks the service, and takes back what it did."""
        data: dict[str, Any] = super().clean() or {}
        if self.errors:
            return data
        try:
            with transaction.atomic():
                self.do(now=clock.now(), user=None, change=not self.instance._state.adding)  # noqa: SLF001
                transaction.set_rollback(True)
        except TenantError as error:
            field = _FIELD_OF.get(error.code)
            self.add_error(field if field in self.fields else None, error.message)
        except forms.ValidationError as error:
            self._say(error)
        return data

    def do(self, *, now: datetime, user: Any, change: bool) -> TokenIssuer:
        """Through the service. Raises ``TenantError`` or ``ValidationError``."""
        values = {name: self.cleaned_data[name] for name in self.fields if name in self.cleaned_data}
        if change:
            return issuers.change_issuer(self.instance, **self._changes(values))
        secret = values.pop("secret", "")
        return issuers.create_issuer(now=now, user=user, secret=secret, **values)

    def _changes(self, values: dict[str, Any]) -> dict[str, Any]:
        """Only what a person changed, so that saving undoes nothing that was done meanwhile."""
        changed = {name: values[name] for name in self.changed_data if name in values}
        if values.get("jwks_url"):
            changed.pop("jwks", None)
        return {name: value for name, value in changed.items() if name not in {"tenant", "secret"}}

    def _say(self, error: forms.ValidationError) -> None:
        for field, found in error.update_error_dict({}).items():
            self.add_error(field if field in self.fields else None, found)


class SecretForm(forms.Form):
    secret = forms.CharField(
        label="New shared secret",
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=SECRET_HELP,
    )
    keep_previous = forms.BooleanField(
        label="Take tokens of the secret before it too",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Until the next rotation, so that whoever signs can change over without a break.",
    )
