"""How a limit is raised for a while."""

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from portal.tenants.models import RaisableLimit


class RaiseForm(forms.Form):
    """What the service refuses is said at the field by the page."""

    limit = forms.ChoiceField(choices=RaisableLimit.choices, widget=UnfoldAdminSelectWidget)
    value = forms.DecimalField(
        label="New value",
        min_value=0,
        max_digits=16,
        decimal_places=6,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="The whole limit while the raise holds, not what is added: 1200 where it is 600 now.",
    )
    until = forms.SplitDateTimeField(widget=UnfoldAdminSplitDateTimeWidget, help_text="UTC.")
    reason = forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextInputWidget,
        help_text="For whoever asks later, for example “launch week, agreed with Ms Berg”.",
    )
