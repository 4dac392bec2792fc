"""Every error of the API in one form: ``{"error": {"code", "message", "fields"?}}``; codes are stable."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import IntegrityError
from django.db.models import ProtectedError, RestrictedError
from django.http import Http404, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from portal.adapters.errors import AdapterError
from portal.core.errors import PortalError

Fields = Mapping[str, list[str]]

_CODES = {
    400: "invalid_request",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    415: "unsupported_media_type",
    429: "throttled",
}
_CONFLICTS = frozenset({
    *("adapter_version_exists", "book_empty", "book_moment_taken", "book_published", "book_retroactive"),
    *("close_refused", "earlier_period_open", "key_expired", "key_replaced", "key_revoked"),
    *("node_rate_in_the_past", "period_closed", "period_not_begun", "raise_over", "raise_overlaps"),
    *("raise_without_limit", "configuration_published", "configuration_not_superseded", "jwks_url_missing"),
    *("draft_changed", "dead_letter_invalid", "issuer_keys_fetched"),
})  # fmt: skip
"""Refused for what is there, not for how it was asked."""


class ApiError(PortalError):
    """What the API itself refuses: contradictions to what is there, unless ``status`` says otherwise."""

    code = "conflict"

    def __init__(
        self, message: str, *, code: str | None = None, status: int = 409, fields: Fields | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.fields = fields


def handle_exception(error: Exception, _context: Mapping[str, Any]) -> Response | None:
    """The answer for what a view raised; None lets Django answer with 500 and log it."""
    response = _answer(error)
    if response is not None:
        set_rollback()
    return response


def _answer(error: Exception) -> Response | None:  # noqa: C901, PLR0911 - a table
    match error:
        case ApiError():
            return problem(error.status, error.code, error.message, error.fields)
        case PortalError():
            return problem(_status(error), error.code, error.message)
        case exceptions.ValidationError():
            return problem(400, "invalid", "The request is not valid.", _fields(error.detail))
        case ModelValidationError():
            return problem(400, "invalid", "The request is not valid.", _model_fields(error))
        case ProtectedError() | RestrictedError():
            return problem(409, "in_use", "It is in use and cannot be deleted.")
        case IntegrityError():
            return problem(409, "conflict", "It contradicts what was saved meanwhile, or what is frozen.")
        case Http404():
            return problem(404, "not_found", "There is no such object.")
        case PermissionDenied():
            return problem(403, "permission_denied", "Your roles do not allow this.")
        case RequestDataTooBig():
            return problem(413, "request_too_large", "The body is larger than the API takes.")
        case exceptions.APIException():
            code = _CODES.get(error.status_code, "error")
            return problem(error.status_code, code, str(error.detail), headers=_headers(error))
    return None


def _status(error: PortalError) -> int:
    if error.code in _CONFLICTS:
        return 409
    if error.code in {"period_unknown", "dead_letter_unknown"}:
        return 404
    return 422 if isinstance(error, AdapterError) else 400


def problem(
    status: int,
    code: str,
    message: str,
    fields: Fields | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    error: dict[str, Any] = {"code": code, "message": message}
    if fields:
        error["fields"] = dict(fields)
    return Response({"error": error}, status=status, headers=dict(headers or {}))


def _headers(error: exceptions.APIException) -> dict[str, str]:
    challenge = getattr(error, "auth_header", None)
    return {"WWW-Authenticate": challenge} if challenge else {}


def _fields(detail: Any) -> dict[str, list[str]]:
    """Nested details with dotted names; what belongs to no field is under ``""``."""
    found: dict[str, list[str]] = {}

    def walk(part: Any, name: str) -> None:
        if isinstance(part, Mapping):
            for key, value in part.items():
                own = "" if key == "non_field_errors" else str(key)
                walk(value, ".".join(filter(None, (name, own))))
        elif isinstance(part, list):
            for value in part:
                walk(value, name)
        else:
            found.setdefault(name, []).append(str(part))

    walk(detail, "")
    return found


def _model_fields(error: ModelValidationError) -> dict[str, list[str]]:
    if hasattr(error, "error_dict"):
        return {("" if name == "__all__" else name): texts for name, texts in error.message_dict.items()}
    return {"": error.messages}


def internal_error() -> JsonResponse:
    """For an error that nobody foresaw, after Django has logged it."""
    message = "Something went wrong on our side; the log says what. Nothing was changed."
    return JsonResponse({"error": {"code": "internal_error", "message": message}}, status=500)
