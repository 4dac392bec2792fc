"""What JSON must not hold so that PostgreSQL can keep it and every reader can read it."""

from typing import Any

from django.core.exceptions import ValidationError

MAX_DEPTH = 20


def validate_storable(value: Any) -> None:
    """No NUL, no half of a character pair, no number beyond a double's, no endless nesting."""
    level = [value]
    for _ in range(MAX_DEPTH):
        if not level:
            return
        for one in level:
            _validate_leaf(one)
        level = [inner for one in level for inner in _inner(one)]
    message = f"It is nested more than {MAX_DEPTH} deep."
    raise ValidationError(message, code="json_too_deep")


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _validate_leaf(value: Any) -> None:
    if isinstance(value, str) and ("\x00" in value or not _is_unicode(value)):
        message = "A text holds a NUL or half of a character pair."
        raise ValidationError(message, code="json_text_invalid")
    if isinstance(value, int | float) and not abs(value) < 2**1023:  # also for NaN
        message = "A number is too large."
        raise ValidationError(message, code="json_number_invalid")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
