"""Every error of the API in one form: ``{"error": {"code", "message", "fields"?}}``; codes are stable."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

from portal.core.errors import PortalError

_CODES = {
    status.HTTP_400_BAD_REQUEST: "invalid_request",
    status.HTTP_401_UNAUTHORIZED: "not_authenticated",
    status.HTTP_403_FORBIDDEN: "permission_denied",
    status.HTTP_404_NOT_FOUND: "not_found",
    status.HTTP_405_METHOD_NOT_ALLOWED: "method_not_allowed",
    status.HTTP_406_NOT_ACCEPTABLE: "not_acceptable",
    status.HTTP_415_UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    status.HTTP_429_TOO_MANY_REQUESTS: "throttled",
}


class ConflictError(PortalError):
    """The request contradicts what is there."""

    code = "conflict"


class ReusedKeyError(PortalError):
    """A key that stands for another request."""

    code = "idempotency_key_reused"


class UnavailableError(PortalError):
    """Something this request needs is away for the moment."""

    code = "unavailable"


_STATUS: dict[type[PortalError], int] = {
    ConflictError: status.HTTP_409_CONFLICT,
    ReusedKeyError: status.HTTP_422_UNPROCESSABLE_ENTITY,
    UnavailableError: status.HTTP_503_SERVICE_UNAVAILABLE,
}


def handle_exception(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """The answer for what a view raised; None lets Django answer with 500 and log it."""
    response = _answer(error)
    if response is not None:
        set_rollback()
        view = context.get("view")
        if view is not None and transaction.get_connection().in_atomic_block:
            view.failed = True  # the idempotency mixin then undoes its transaction
    return response


def _answer(error: Exception) -> Response | None:
    match error:
        case PortalError():
            return problem(_STATUS.get(type(error), 400), error.code, error.message)
        case exceptions.ValidationError():
            return problem(400, "invalid", "The request is not valid.", _fields(error.detail))
        case ModelValidationError():
            return problem(400, "invalid", "The request is not valid.", _model_fields(error))
        case ProtectedError():
            return problem(409, "in_use", "It is in use and cannot be deleted.")
        case IntegrityError():
            return problem(409, "conflict", "It contradicts what was saved meanwhile, or what is frozen.")
        case Http404():
            return problem(404, "not_found", "There is no such object, or you may not see it.")
        case PermissionDenied():
            return problem(403, "permission_denied", "Your roles do not allow this.")
        case exceptions.APIException():
            code = _CODES.get(error.status_code, "error")
            headers = _headers(error)
            return problem(error.status_code, code, str(error.detail), headers=headers)
    return None


def problem(
    code_status: int,
    code: str,
    message: str,
    fields: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    error: dict[str, Any] = {"code": code, "message": message}
    if fields:
        error["fields"] = fields
    return Response({"error": error}, status=code_status, headers=dict(headers or {}))


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
