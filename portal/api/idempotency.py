"""``Idempotency-Key`` on POST: the change and the kept answer are committed together.

One request per user and key is at work at a time, under a PostgreSQL lock that ends with its connection.
So a process that dies leaves nothing behind, and whoever repeats the request does the work.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.errors import ApiError
from portal.api.models import IdempotentAnswer
from portal.api.services import KEPT
from portal.core import clock

HEADER = "Idempotency-Key"
MAX_LENGTH = 255
_FIRST_ERROR = 400


class _Replay(Exception):  # noqa: N818 - not an error: it carries the kept answer to the door
    def __init__(self, response: Response) -> None:
        self.response = response


class IdempotentMixin:
    """For views whose POST must not happen twice.

    ``secret_actions`` answer with a ``secret`` that must not be kept. ``own_transactions`` must not run
    within another's transaction: their change is committed just before the answer is kept.
    """

    secret_actions: tuple[str, ...] = ()
    own_transactions: tuple[str, ...] = ()
    _lock: int | None = None
    _unkept: IdempotentAnswer | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST" or HEADER not in request.headers:
            return super().dispatch(request, *args, **kwargs)  # type: ignore[misc,no-any-return]
        action = getattr(self, "action_map", {}).get("post")
        ours = action not in self.own_transactions
        try:
            with transaction.atomic() if ours else nullcontext():
                response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
                if ours and response.status_code >= _FIRST_ERROR:
                    transaction.set_rollback(True)
            return response
        finally:
            if self._lock is not None:
                _unlock(self._lock)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc] # authenticates and checks permissions
        if request.method == "POST" and (key := request.headers.get(HEADER)) is not None:
            self._begin(request, key)

    def _begin(self, request: Request, key: str) -> None:
        """Raises ``_Replay`` where the key has its answer already."""
        if not 0 < len(key) <= MAX_LENGTH or not key.isprintable():
            raise ValidationError({HEADER: f"One to {MAX_LENGTH} printable characters."})
        user: Any = request.user  # authenticated, and so with a number
        fingerprint, now = _fingerprint(request), clock.now()
        name = hashlib.sha256(f"{user.pk} {key}".encode()).digest()
        self._lock = _try_lock(int.from_bytes(name[:8], signed=True))
        if self._lock is None:
            message = f"The first request with this {HEADER} is still at work. Repeat it a little later."
            raise ApiError(message, code="idempotency_in_progress", status=409)
        kept = IdempotentAnswer.objects.filter(user_id=user.pk, key=key).first()
        if kept is not None and kept.created_at < now - KEPT:
            kept.delete()
            kept = None
        if kept is not None:
            raise _Replay(_answer_again(kept, fingerprint))
        self._unkept = IdempotentAnswer(user_id=user.pk, key=key, fingerprint=fingerprint, created_at=now)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, _Replay):
            return exc.response
        return super().handle_exception(exc)  # type: ignore[misc,no-any-return]

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        final: Response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        unkept, self._unkept = self._unkept, None
        if unkept is not None and final.status_code < _FIRST_ERROR:
            unkept.status = final.status_code
            unkept.body = _plain(final)
            if getattr(self, "action", None) in self.secret_actions:
                unkept.body, unkept.secret_shown = {"id": unkept.body["id"]}, True
            unkept.save(force_insert=True)
        return final


def _answer_again(kept: IdempotentAnswer, fingerprint: str) -> Response:
    if kept.fingerprint != fingerprint:
        message = f"This {HEADER} was used for another request. Use a new one for a new request."
        raise ApiError(message, code="idempotency_key_reused", status=422)
    if kept.secret_shown:
        key_id = kept.body["id"]
        message = (
            f"The first request with this {HEADER} made key {key_id}. Its answer held the secret, which is "
            "kept nowhere: if it is lost, rotate that key."
        )
        raise ApiError(message, code="idempotency_secret_shown", status=409, fields={"id": [key_id]})
    return Response(kept.body, status=kept.status, headers={"Idempotent-Replayed": "true"})


def _try_lock(lock: int) -> int | None:
    """``lock`` if it is now this connection's. It outlives the transaction, to be given back after it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [lock])
        return lock if cursor.fetchone()[0] else None


def _unlock(lock: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [lock])


def _plain(response: Response) -> Any:
    """The answer's data as JSON has it: dates and decimals as text."""
    return json.loads(JSONRenderer().render(response.data))


def _fingerprint(request: Request) -> str:
    whole = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    if (request.content_type or "").startswith("multipart/"):
        for part in _parts(request):
            whole.update(part)
    else:
        whole.update(request._request.body)  # noqa: SLF001 - before DRF reads the stream away
    return whole.hexdigest()


def _parts(request: Request) -> Iterator[bytes]:
    """Fields and files by name, each quoted, so that no two forms give the same bytes."""
    form: Any = request.data  # a QueryDict, since it is multipart
    for name in sorted(form):
        for value in form.getlist(name):
            if isinstance(value, UploadedFile):
                content = hashlib.sha256()
                for chunk in value.chunks():
                    content.update(chunk)
                value.seek(0)
                yield f"{name!r}: {value.name!r} {content.hexdigest()}\n".encode()
            else:
                yield f"{name!r}: {value!r}\n".encode()
