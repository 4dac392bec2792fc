"""Secrets that must be read again, at rest: AES-256-GCM (NIST SP 800-38D) under keys by id.

``v1.<kid>.<base64url of nonce and ciphertext>``. The purpose is authenticated with it, so that a sealed text
copied to another tenant's row does not open. Keys are named, so that a new one can be added everywhere before
the old one is dropped.
"""

import binascii
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway_hooks.contract.errors import ContractError

KEY_BYTES = 32
_VERSION = "v1"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class SealingError(ContractError):
    """Keys or a sealed text are not usable; the text holds neither."""

    code = "sealed_malformed"


class SealingKeys(msgspec.Struct, frozen=True):
    """Keys by id; the first one seals, all open."""

    keys: Mapping[str, bytes]

    @property
    def sealing_id(self) -> str:
        return next(iter(self.keys))

    def __repr__(self) -> str:
        return f"SealingKeys({', '.join(self.keys)})"


def parse_sealing_keys(text: str) -> SealingKeys:
    """``kid:hex[,kid:hex…]`` of 32 bytes each, as it stands in ``TENANTRY_SECRETS_KEYS``."""
    keys: dict[str, bytes] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        key_id, _, secret = entry.partition(":")
        if not _KEY_ID.fullmatch(key_id) or key_id in keys:
            message = "sealing keys have the form kid:hex[,kid:hex], each kid once"
            raise SealingError(message, code="sealing_keys_malformed")
        keys[key_id] = _key(key_id, secret)
    if not keys:
        message = "no sealing key is configured"
        raise SealingError(message, code="sealing_keys_missing")
    return SealingKeys(keys)


def _key(key_id: str, secret: str) -> bytes:
    try:
        key = bytes.fromhex(secret)
    except ValueError as error:
        message = f"sealing key {key_id!r} is not hex"
        raise SealingError(message, code="sealing_keys_malformed") from error
    if len(key) != KEY_BYTES:
        message = f"sealing key {key_id!r} is not {KEY_BYTES} bytes long"
        raise SealingError(message, code="sealing_keys_malformed")
    return key


def issuer_purpose(tenant_id: str) -> str:
    """Of the shared secrets of a tenant's token issuers."""
    return f"tenantry/issuer-secret/{tenant_id}"


def seal(text: str, keys: SealingKeys, *, purpose: str) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(keys.keys[keys.sealing_id]).encrypt(nonce, text.encode(), purpose.encode())
    return f"{_VERSION}.{keys.sealing_id}.{urlsafe_b64encode(nonce + sealed).decode().rstrip('=')}"


def open_sealed(sealed: str, keys: SealingKeys, *, purpose: str) -> str:
    """Raises ``SealingError``: ``sealed_malformed``, ``sealed_unknown_key``, or ``sealed_wrong``.

    The last is for a text that was changed or sealed for another purpose.
    """
    key_id, raw = _parts(sealed)
    key = keys.keys.get(key_id)
    if key is None:
        message = "the text is sealed with a key that is not configured"
        raise SealingError(message, code="sealed_unknown_key")
    try:
        return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], purpose.encode()).decode()
    except InvalidTag:
        message = "the sealed text was changed, or sealed for something else"
        raise SealingError(message, code="sealed_wrong") from None


def sealing_id_of(sealed: str) -> str:
    """The key it was sealed with, so that old texts can be sealed anew. Raises ``SealingError``."""
    return _parts(sealed)[0]


def _parts(sealed: str) -> tuple[str, bytes]:
    version, _, rest = sealed.partition(".")
    key_id, _, coded = rest.partition(".")
    try:
        raw = urlsafe_b64decode(coded.encode("ascii") + b"=" * (-len(coded) % 4))
    except (binascii.Error, ValueError) as error:
        message = "the text is not a sealed one"
        raise SealingError(message) from error
    if version != _VERSION or len(raw) < _NONCE_BYTES + _TAG_BYTES:
        message = "the text is not a sealed one"
        raise SealingError(message)
    return key_id, raw
