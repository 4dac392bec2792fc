"""Requests that crashed workers twice, as gateways keep them in Redis; released ones may run again."""

import logging
from typing import cast

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

logger = logging.getLogger(__name__)


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
    """By ``letter_id``. Raises ``FleetError`` ``dead_letter_unknown``, or ``REDIS_AWAY``."""
    raw = cast("bytes | None", client().hget(DEAD_LETTERS, name))
    if raw is None:
        message = "There is no such dead letter: it was released, or its time is over."
        raise FleetError(message, code="dead_letter_unknown")
    return decode_dead_letter(raw)


def release(letter: DeadLetter) -> None:
    """Its request runs again, and two more crashes put it back. Raises ``FleetError``, or ``REDIS_AWAY``."""
    with client().pipeline(transaction=True) as pipeline:
        pipeline.hdel(DEAD_LETTERS, letter_id(letter))
        pipeline.delete(suspect(letter.tenant_id, letter.fingerprint))
        removed, _forgotten = pipeline.execute()
    if not removed:
        message = "This dead letter was released already."
        raise FleetError(message, code="dead_letter_unknown")
    logger.info("dead letter %s was released", letter_id(letter))
