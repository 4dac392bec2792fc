"""Small pieces of language that pages share. Pure."""

from datetime import timedelta
from decimal import Decimal

_UNITS = ((86_400, "day"), (3_600, "h"), (60, "min"), (1, "s"))


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 key``, ``1,204 keys``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def plain(amount: Decimal) -> str:
    """``50``, ``0.5``: no zeros that say nothing, no exponent."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(span: timedelta) -> str:
    """The largest unit alone: ``4 s``, ``3 min``, ``2 h``, ``5 days``."""
    seconds = max(0, int(span.total_seconds()))
    size, unit = next((pair for pair in _UNITS if seconds >= pair[0]), _UNITS[-1])
    number = seconds // size
    return f"{number} {unit}{'s' if unit == 'day' and number != 1 else ''}"
