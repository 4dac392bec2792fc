"""Who may come in, and with what body: the pure decision in front of every route of vLLM.

Default deny. Nothing but the paths below exists for anybody, and those only with the gateway's signature
over exactly this method, path, worker and body. What the engine later reads about the tenant is written
into the body here, from the signature.
"""

import json
from collections.abc import Mapping
from typing import Any

from gateway_hooks.contract.choices import MAX_CHOICES
from gateway_hooks.contract.identity import (
    MAX_AGE_SECONDS,
    MAX_SKEW_SECONDS,
    Identity,
    IdentityError,
    Keyring,
    adapter_model_name,
    verify,
)
from inference.errors import InferenceError
from inference.facts import as_request_id, as_xargs, facts_of
from inference.replay import ReplayError, ReplayGuard

GENERATION_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"})
POOLING_PATHS = frozenset({"/v1/embeddings"})
CHOICE_PATHS = frozenset({"/v1/chat/completions", "/v1/completions"})
WORK_PATHS = GENERATION_PATHS | POOLING_PATHS
READ_PATHS = frozenset({"/health", "/metrics", "/v1/models"})

# Body fields by which a caller could reach around the signature: other engines' caches, an id of its
# own, scheduling, files of the host.
_DROPPED_FIELDS = ("request_id", "kv_transfer_params", "ec_transfer_params", "vllm_xargs")
MAX_SALT_CHARACTERS = 128


class DoorError(InferenceError):
    """The request is refused with HTTP ``status``."""

    code = "forbidden"

    def __init__(self, message: str, *, code: str, status: int = 403) -> None:
        super().__init__(message, code=code)
        self.status = status


class Door:
    """``opened_at`` (seconds since 1970): what was signed earlier may have been seen by a former boot."""

    def __init__(self, keyring: Keyring, *, worker_id: str, base_model: str, opened_at: float) -> None:
        self._keyring = keyring
        self._worker_id = worker_id
        self._base_model = base_model
        self._opened_at = opened_at
        self._replays = ReplayGuard(kept_seconds=MAX_AGE_SECONDS + MAX_SKEW_SECONDS)

    def check_target(self, method: str, path: str, query: bytes, token: str | None) -> None:
        """What can be refused before the body is read."""
        if not token:
            message = "only requests signed by the gateway are served"
            raise DoorError(message, code="identity_missing", status=401)
        expected = "POST" if path in WORK_PATHS else "GET" if path in READ_PATHS else None
        if method != expected or query:
            message = "this worker does not serve that"
            raise DoorError(message, code="path_not_allowed")

    def identify(self, method: str, path: str, token: str, body: bytes, *, now: float) -> Identity:
        """The proven identity, once: a second request with the same id is refused."""
        try:
            identity = verify(
                token, self._keyring, now=now, worker_id=self._worker_id, method=method, path=path, body=body
            )
        except IdentityError as error:
            raise DoorError(str(error), code=error.code, status=401) from error
        if identity.issued_at < self._opened_at:
            message = "identity was signed before this worker started"
            raise DoorError(message, code="identity_expired", status=401)
        try:
            self._replays.admit(identity.request_id, now=now)
        except ReplayError as error:
            raise DoorError(str(error), code=error.code) from error
        except InferenceError as error:
            raise DoorError(str(error), code=error.code, status=503) from error
        return identity

    def check_model(self, identity: Identity) -> None:
        """The model named in the signature is the signed adapter's, or this pool's base model."""
        digest = identity.adapter_digest
        named = self._base_model if digest is None else adapter_model_name(digest)
        if identity.model != named:
            message = "the signed model is neither this worker's base model nor the signed adapter"
            raise DoorError(message, code="model_not_served")
        if not identity.tenant_id:
            message = "work needs a tenant"
            raise DoorError(message, code="identity_without_tenant")


def rewrite(identity: Identity, path: str, body: bytes) -> tuple[bytes, str]:
    """(the body with only signed facts in it, the request id for vLLM). ``DoorError`` if it does not fit."""
    document = _document(body)
    if document.get("model") != identity.model:
        message = "the body names another model than the signature"
        raise DoorError(message, code="model_not_signed")
    salt = document.get("cache_salt")
    if not isinstance(salt, str) or not 0 < len(salt) <= MAX_SALT_CHARACTERS:
        message = "a cache salt is required"
        raise DoorError(message, code="cache_salt_missing")
    choices = _choices(document, most=MAX_CHOICES if path in CHOICE_PATHS else 1)
    for name in _DROPPED_FIELDS:
        document.pop(name, None)
    facts = facts_of(identity, choices=choices, streams=document.get("stream") is True)
    if path in POOLING_PATHS:
        return _encode(document), as_request_id(facts)
    document["vllm_xargs"] = as_xargs(facts)
    return _encode(document), identity.request_id


def _document(body: bytes) -> dict[str, Any]:
    try:
        # Repeated names would let the signer and vLLM see different values.
        document = json.loads(body, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        message = "the body is not a JSON object with unique names"
        raise DoorError(message, code="body_malformed", status=400) from error
    if not isinstance(document, dict):
        message = "the body is not a JSON object"
        raise DoorError(message, code="body_malformed", status=400)
    return document


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        message = "a name is repeated"
        raise ValueError(message)
    return document


def _choices(document: Mapping[str, Any], *, most: int) -> int:
    """``n``. One request is one prompt, ``n`` answers to it, and one usage event."""
    choices = 1 if document.get("n") is None else document["n"]
    if type(choices) is not int or not 1 <= choices <= most:
        message = f"1 to {most} answers per request"
        raise DoorError(message, code="several_sequences", status=400)
    if document.get("best_of") not in (None, 1) or document.get("use_beam_search"):
        message = "every answer that is computed is given"
        raise DoorError(message, code="several_sequences", status=400)
    for name in ("prompt", "input"):
        value = document.get(name)
        if isinstance(value, list) and len(value) > 1 and isinstance(value[0], str | list):
            message = "one input per request"
            raise DoorError(message, code="several_sequences", status=400)
    return choices


def _encode(document: Mapping[str, Any]) -> bytes:
    # ASCII: a lone surrogate, which JSON can spell, has no UTF-8.
    return json.dumps(document, separators=(",", ":")).encode("ascii")
