"""Requests that crashed workers: under suspicion after the first crash, refused after the second.

What a request said is nowhere: it is known by a fingerprint, a keyed hash of its checked body.
"""

from datetime import datetime

import msgspec

from gateway_hooks.contract.errors import ContractError
from gateway_hooks.contract.keys import PREFIX

DEAD_LETTERS = PREFIX + "dead-letters"
"""Hash: ``entry_name`` -> ``DeadLetter`` as JSON. Taking an entry out lets its request run again."""
KEPT_SECONDS = 90 * 24 * 3600
"""The list goes with its newest entry; nobody repeats a request for so long."""
SUSPECT_SECONDS = 24 * 3600
SUSPECTS = PREFIX + "suspects"
"""Sorted set: ``entry_name`` of who has a record of crashes, scored by its end in seconds since 1970."""


class DeadLetterError(ContractError):
    """The bytes are no dead letter."""

    code = "dead_letter_invalid"


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    """One death of a worker with the request in flight."""

    at: datetime
    worker_id: str
    boot_id: str
    request_id: str
    alias: str


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """``fingerprint`` is hex; ``crashes`` counts different boots of workers."""

    fingerprint: str
    tenant_id: str
    alias: str
    first_at: datetime
    last_at: datetime
    crashes: int
    workers: tuple[str, ...]
    request_ids: tuple[str, ...]


def entry_name(tenant_id: str, fingerprint: str) -> str:
    """The field of ``DEAD_LETTERS``."""
    return f"{tenant_id}:{fingerprint}"


def suspect(tenant_id: str, fingerprint: str) -> str:
    """Hash, expiring: ``worker:boot`` -> ``Crash`` as JSON."""
    return f"{PREFIX}{{{tenant_id}}}:suspect:{fingerprint}"


def crash_scene(worker_id: str, boot_id: str) -> str:
    """Set, expiring: ``entry_name`` of all that was in flight when this boot's connections broke."""
    return f"{PREFIX}crash:{worker_id}:{boot_id}"


def encode_dead_letter(letter: DeadLetter) -> bytes:
    return msgspec.json.encode(letter)


def decode_dead_letter(raw: bytes) -> DeadLetter:
    """Raises ``DeadLetterError``."""
    try:
        return msgspec.json.decode(raw, type=DeadLetter)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        message = f"not a dead letter: {error}"
        raise DeadLetterError(message) from error


def encode_crash(crash: Crash) -> bytes:
    return msgspec.json.encode(crash)


def decode_crash(raw: bytes) -> Crash:
    """Raises ``DeadLetterError``."""
    try:
        return msgspec.json.decode(raw, type=Crash)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        message = f"not a crash: {error}"
        raise DeadLetterError(message) from error
