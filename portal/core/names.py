"""What a name must not be: spreadsheets take a field that begins like a formula for one."""

import unicodedata

from django.core.exceptions import ValidationError

FORMULA_STARTS = ("=", "+", "-", "@")


def validate_name(value: str) -> None:
    """Names go into exports as they are. Raises ``ValidationError`` with the code ``name_unsafe``."""
    if value.startswith(FORMULA_STARTS):
        message = f"A name cannot begin with {value[0]!r}: spreadsheets would take it for a formula."
        raise ValidationError(message, code="name_unsafe")
    if any(unicodedata.category(character) == "Cc" for character in value):
        message = "A name cannot hold control characters, such as tabs and line breaks."
        raise ValidationError(message, code="name_unsafe")
