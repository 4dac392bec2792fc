"""``Idempotency-Key`` on POST: claim, change and answer are one transaction.

A second request with the same key waits on the unique index until the first has committed, and then gets
its answer; if the first failed or died, nothing of it is left and the second does the work.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.errors import ConflictError, ReusedKeyError
from portal.api.models import IdempotentAnswer
from portal.core import clock

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
MAX_LENGTH = 255


class _Replay(Exception):  # noqa: N818 - not an error: it carries the kept answer to the door
    def __init__(self, response: Response) -> None:
        self.response = response


class IdempotentMixin:
    """For views whose POST must not happen twice. ``secret_actions`` answer with what must not be kept."""

    secret_actions: tuple[str, ...] = ()
    failed = False
    _claim: IdempotentAnswer | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST" or not request.headers.get(HEADER):
            return super().dispatch(request, *args, **kwargs)  # type: ignore[misc,no-any-return]
        with transaction.atomic():
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
            if self.failed or response.status_code >= 400:  # noqa: PLR2004
                transaction.set_rollback(True)
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc] # authenticates and checks permissions
        if request.method == "POST" and (key := request.headers.get(HEADER)):
            self._claim = _claim(request, key)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, _Replay):
            return exc.response
        return super().handle_exception(exc)  # type: ignore[misc,no-any-return]

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        final: Response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if self._claim is not None and not self.failed and final.status_code < 400:  # noqa: PLR2004
            secret = getattr(self, "action", None) in self.secret_actions
            self._claim.status = final.status_code
            self._claim.body = None if secret else _plain(final)
            self._claim.save(update_fields=["status", "body"])
        return final


def _plain(response: Response) -> Any:
    """The answer's data as JSON has it: dates and decimals as text."""
    return json.loads(JSONRenderer().render(response.data))


def _claim(request: Request, key: str) -> IdempotentAnswer:
    """Raises ``_Replay`` where the key has its answer already."""
    if len(key) > MAX_LENGTH or not key.isprintable():
        raise ValidationError({HEADER: f"At most {MAX_LENGTH} printable characters."})
    now, fingerprint = clock.now(), _fingerprint(request)
    mine = IdempotentAnswer.objects.filter(user_id=request.user.pk)
    mine.filter(created_at__lt=now - KEPT).delete()
    try:
        with transaction.atomic():
            return IdempotentAnswer.objects.create(
                user_id=request.user.pk, key=key, fingerprint=fingerprint, created_at=now
            )
    except IntegrityError:
        kept = mine.get(key=key)
    if kept.fingerprint != fingerprint:
        message = f"This {HEADER} was used for another request. Use a new key for a new request."
        raise ReusedKeyError(message)
    if kept.body is None:
        message = (
            "The first request with this key has done it. Its answer held a secret, which is kept nowhere: "
            "if it is lost, rotate the API key."
        )
        raise ConflictError(message, code="idempotency_replay_secret_gone")
    raise _Replay(Response(kept.body, status=kept.status, headers={"Idempotent-Replayed": "true"}))


def _fingerprint(request: Request) -> str:
    whole = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    if (request.content_type or "").startswith("multipart/"):
        for part in _parts(request):
            whole.update(part)
    else:
        whole.update(request._request.body)  # noqa: SLF001 - before DRF reads the stream away
    return whole.hexdigest()


def _parts(request: Request) -> Iterator[bytes]:
    """Fields and files by name, each with its length, so that no two forms give the same bytes."""
    for name in sorted(request.data):
        for value in request.data.getlist(name):
            if isinstance(value, UploadedFile):
                content = hashlib.sha256()
                for chunk in value.chunks():
                    content.update(chunk)
                value.seek(0)
                yield f"{name!r}: {value.name!r} {content.hexdigest()}\n".encode()
            else:
                yield f"{name!r}: {value!r}\n".encode()
