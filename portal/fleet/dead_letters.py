"""Requests that crashed workers twice, as gateways keep them in Redis; released ones may run again."""

import logging
from typing import cast

from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

from gateway_hooks.contract.dead_letters import (
    DEAD_LETTERS,
    DeadLetter,
    DeadLetterError,
    decode_dead_letter,
    entry_name,
    suspect,
)
from portal.core.redis import client
from portal.fleet.errors import FleetError
from portal.fleet.models import GatewayProcess

logger = logging.getLogger(__name__)

_UNKNOWN = "There is no such dead letter: it was released, or its time is over."


def dead_letters(*, tenant_id: str | None = None) -> list[DeadLetter]:
    """The newest first; all tenants' without ``tenant_id``. Raises ``REDIS_AWAY``."""
    found: list[DeadLetter] = []
    for name, raw in cast("dict[bytes, bytes]", client().hgetall(DEAD_LETTERS)).items():
        try:
            found.append(decode_dead_letter(raw))
        except DeadLetterError as error:
            logger.warning("%r cannot be read: %s", name, error.code)
    mine = [letter for letter in found if tenant_id is None or letter.tenant_id == tenant_id]
    return sorted(mine, key=lambda letter: letter.last_at, reverse=True)


def letter_id(letter: DeadLetter) -> str:
    return entry_name(letter.tenant_id, letter.fingerprint)


def find_dead_letter(name: str) -> DeadLetter:
    """By ``letter_id``. Raises ``FleetError`` (``dead_letter_unknown``, ``…_invalid``), or ``REDIS_AWAY``."""
    raw = cast("bytes | None", client().hget(DEAD_LETTERS, name))
    if raw is None:
        message = _UNKNOWN
        raise FleetError(message, code="dead_letter_unknown")
    try:
        return decode_dead_letter(raw)
    except DeadLetterError as error:
        message = "This dead letter cannot be read. It can be released by its name."
        raise FleetError(message, code=error.code) from error


def release(name: str, *, user: User | None) -> None:
    """Its request runs again, and two more crashes put it back. ``name`` as ``letter_id``, readable or not.

    Raises ``FleetError``, or ``REDIS_AWAY``.
    """
    tenant_id, _, fingerprint = name.partition(":")
    with client().pipeline(transaction=True) as pipeline:
        pipeline.hdel(DEAD_LETTERS, name)
        pipeline.delete(suspect(tenant_id, fingerprint))
        removed, _forgotten = pipeline.execute()
    if not removed:
        message = _UNKNOWN
        raise FleetError(message, code="dead_letter_unknown")
    logger.info("dead letter %s was released", name)
    if user:
        _note_release(name, user)


def _note_release(name: str, user: User) -> None:
    """In the console's history. The letter has no row of its own."""
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(GatewayProcess),
        object_repr=f"Dead letter {name}"[:200],
        action_flag=DELETION,
        change_message="Released: the same request is served again.",
    )
