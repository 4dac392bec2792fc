"""How the OpenAPI document describes what all operations share."""

from typing import Any, Literal

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from portal.api.serializers import ErrorSerializer

_ERRORS = {
    "get": ("400", "401", "403", "404"),
    "post": ("400", "401", "403", "404", "409", "415", "422"),
    "patch": ("400", "401", "403", "404", "409", "415"),
    "delete": ("400", "401", "403", "404", "409"),
}


class Schema(AutoSchema):
    """Adds the errors, ``Idempotency-Key`` to POST, and each view's filters."""

    def get_override_parameters(self) -> list[Any]:
        found = list(super().get_override_parameters())
        if self.method == "POST":
            found.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    str,
                    OpenApiParameter.HEADER,
                    description="The same key with the same body has one effect and one answer (24 h).",
                )
            )
        if getattr(self.view, "action", "") == "list":
            found += [
                OpenApiParameter(name, str, description="Only those with exactly this value.")
                for name in getattr(self.view, "filters", {})
            ]
        return found

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        found: dict[str, Any] = super()._get_response_bodies(direction)
        for status in _ERRORS.get(self.method.lower(), ()):
            found.setdefault(status, self._error(status))
        return found

    def _error(self, status: str) -> Any:
        return self._get_response_for_code(ErrorSerializer, status)  # type: ignore[no-untyped-call]
