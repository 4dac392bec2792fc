"""Forms of the adapter pages."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from gateway_hooks.contract.artifacts import CONFIG_FILE, WEIGHTS_FILE
from portal.adapters.conf import read_settings
from portal.adapters.errors import AdapterError
from portal.adapters.models import Alias
from portal.adapters.selectors import versions_of
from portal.adapters.services import require_fits
from portal.adapters.sources import Archive, Files, Source, import_folder
from portal.fleet.models import Pool


class VersionForm(forms.Form):
    """Exactly one of: the two files, an archive of them, a folder below the import folder."""

    config = forms.FileField(label=CONFIG_FILE, required=False, widget=UnfoldAdminFileFieldWidget)
    weights = forms.FileField(label=WEIGHTS_FILE, required=False, widget=UnfoldAdminFileFieldWidget)
    archive = forms.FileField(
        label="or both in one archive",
        required=False,
        widget=UnfoldAdminFileFieldWidget,
        help_text=".zip, .tar, .tar.gz",
    )
    path = forms.CharField(
        label="or a folder of this server",
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
    )
    pool = forms.ModelChoiceField(
        label="Check against pool",
        queryset=Pool.objects.all(),
        widget=UnfoldAdminSelectWidget,
        empty_label=None,
    )
    note = forms.CharField(
        max_length=300,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="What is new in it.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["path"].help_text = f"Below {read_settings().imports}."

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        both = bool(data.get("config") or data.get("weights"))
        if [both, bool(data.get("archive")), bool(data.get("path"))].count(True) != 1:
            message = "Give the two files, or an archive, or a folder: one of the three."
            raise forms.ValidationError(message, code="adapter_source")
        return data

    def source(self) -> Source:
        """Raises ``AdapterError`` for a path outside of the import folder."""
        data = self.cleaned_data
        if data["path"]:
            return import_folder(read_settings().imports, data["path"])
        if data["archive"]:
            return Archive(data["archive"])
        chosen = {CONFIG_FILE: data["config"], WEIGHTS_FILE: data["weights"]}
        self._refuse_pickles()
        return Files({name: file for name, file in chosen.items() if file})

    def _refuse_pickles(self) -> None:
        weights = self.cleaned_data["weights"]
        if weights and not weights.name.endswith(".safetensors"):
            message = (
                f"{weights.name[:80]} is no .safetensors file. "
                "Save the adapter with safetensors (PEFT: safe_serialization=True)."
            )
            raise AdapterError(message, code="adapter_not_safetensors")


class AliasForm(forms.ModelForm[Alias]):
    class Meta:
        model = Alias
        fields = ("tenant", "name", "version", "pool")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        version: Any = self.fields.get("version")
        if version is None:
            return
        version.empty_label = "the pool's base model"
        if self.instance.tenant_id:
            version.queryset = versions_of(self.instance.tenant)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        tenant = data.get("tenant") or (self.instance.tenant if self.instance.tenant_id else None)
        if tenant is not None and "version" in data:
            try:
                require_fits(tenant=tenant, version=data["version"], pool=data.get("pool"))
            except AdapterError as error:
                self.add_error("version", forms.ValidationError(error.message, code=error.code))
        return data
