"""Form fields for lists that people write as lines."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget


class LinesField(forms.CharField):
    """A list of texts, one on each line; blank lines and doubles are dropped.

    ``nothing`` is what an empty field stands for.
    """

    def __init__(self, *, rows: int = 3, nothing: list[str] | None = None, **options: Any) -> None:
        self.nothing = nothing
        widget = UnfoldAdminTextareaWidget(attrs={"rows": rows})
        super().__init__(**{"required": False, "widget": widget, **options})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(str(one) for one in value) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return list(value) or self.nothing
        lines = [line.strip() for line in (value or "").splitlines()]
        return list(dict.fromkeys(line for line in lines if line)) or self.nothing

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or None) != (self.to_python(data) or None))

    def run_validators(self, value: Any) -> None:
        """Those of the model look at the whole list; lengths are theirs too."""
