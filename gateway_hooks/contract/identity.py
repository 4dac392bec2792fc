"""Who asks, as the gateway signs it and the worker checks it: a JWS (RFC 7515, HS256) per request.

The token binds tenant and adapter to one method, path and body at one worker for a short time. Keys
are named (``kid``), so that a new one can be added everywhere before the old one is dropped.
"""

import hashlib
import hmac
from collections.abc import Mapping

import jwt
import msgspec

from gateway_hooks.contract.errors import ContractError

HEADER = "x-tenantry-identity"
MAX_AGE_SECONDS = 30
MAX_SKEW_SECONDS = 5
MIN_KEY_BYTES = 32


class IdentityError(ContractError):
    """The token does not prove what it claims. ``code`` says which check failed."""

    code = "identity_invalid"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """``model`` is the name that vLLM serves: the base model's, or ``adapter_model_name(digest)``.

    ``shadow`` marks a copy that is metered and never charged to the tenant. ``admitted_at`` is when the
    request was admitted, if that is not when this was signed: it may have waited, or been tried before.
    """

    request_id: str
    worker_id: str
    method: str
    path: str
    body_sha256: str
    issued_at: float
    tenant_id: str = ""
    app_id: str = ""
    key_id: str = ""
    alias: str = ""
    model: str = ""
    adapter_version_id: str | None = None
    adapter_digest: str | None = None
    shadow: bool = False
    admitted_at: float | None = None


class Keyring(msgspec.Struct, frozen=True):
    """Signing keys by id; the first one signs, all verify."""

    keys: Mapping[str, bytes]

    @property
    def signing_id(self) -> str:
        return next(iter(self.keys))


def parse_keyring(text: str) -> Keyring:
    """``kid:hex[,kid:hex…]`` as it stands in ``TENANTRY_IDENTITY_KEYS``."""
    keys: dict[str, bytes] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        key_id, _, secret = entry.partition(":")
        try:
            keys[key_id] = bytes.fromhex(secret)
        except ValueError as error:
            message = "identity keys have the form kid:hex[,kid:hex]"
            raise IdentityError(message, code="identity_keys_malformed") from error
        if len(keys[key_id]) < MIN_KEY_BYTES:
            message = f"identity key {key_id!r} is shorter than {MIN_KEY_BYTES} bytes"
            raise IdentityError(message, code="identity_keys_malformed")
    if not keys:
        message = "no identity key is configured"
        raise IdentityError(message, code="identity_keys_missing")
    return Keyring(keys)


def body_sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def sign(identity: Identity, keyring: Keyring) -> str:
    return jwt.encode(
        msgspec.to_builtins(identity),
        keyring.keys[keyring.signing_id],
        algorithm="HS256",
        headers={"kid": keyring.signing_id},
    )


def verify(
    token: str,
    keyring: Keyring,
    *,
    now: float,
    worker_id: str,
    method: str,
    path: str,
    body: bytes,
) -> Identity:
    """The identity, if signature, worker, method, path, body and age all fit; else ``IdentityError``.

    Replay within the age is the caller's to refuse: it must remember ``request_id``.
    """
    identity = _decode(token, keyring)
    age = now - identity.issued_at
    if not -MAX_SKEW_SECONDS <= age <= MAX_AGE_SECONDS:
        message = f"identity is {age:.1f} s old"
        raise IdentityError(message, code="identity_expired")
    expected = (worker_id, method, path)
    if (identity.worker_id, identity.method, identity.path) != expected:
        message = "identity was signed for another worker, method or path"
        raise IdentityError(message, code="identity_wrong_target")
    if not hmac.compare_digest(identity.body_sha256, body_sha256(body)):
        message = "body differs from the signed one"
        raise IdentityError(message, code="identity_wrong_body")
    return identity


def _decode(token: str, keyring: Keyring) -> Identity:
    try:
        key_id = jwt.get_unverified_header(token).get("kid", "")
        if key_id not in keyring.keys:
            message = "identity is signed with an unknown key"
            raise IdentityError(message, code="identity_unknown_key")
        claims = jwt.decode(token, keyring.keys[key_id], algorithms=["HS256"])
        return msgspec.convert(claims, Identity)
    except (jwt.PyJWTError, msgspec.ValidationError) as error:
        message = "identity is malformed or its signature is wrong"
        raise IdentityError(message) from error


def adapter_model_name(digest: str) -> str:
    """The LoRA name at the worker: content-addressed, so never a client's text."""
    return f"adapter-{digest}"


def cache_salt(secret: bytes, *, tenant_id: str, adapter_digest: str | None) -> str:
    """Hex HMAC that parts prefix caches per (tenant, adapter version); vLLM takes at most 128 characters."""
    message = f"{tenant_id}\n{adapter_digest or 'base'}".encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()
