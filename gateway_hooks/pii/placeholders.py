"""Placeholders: ``<ENTITY_suffix>``, closed on both sides, the suffix a keyed digest of tenant, entity and
value.

The same value has the same placeholder in every turn, so masked prefixes stay the same for prefix caches;
without the tenant's key nobody can tell or repeat it. The suffix has consonants only: no word, number or code
is ever found in it.
"""

import hmac
import re

_ALPHABET = "bcdfghjkmnpqrstv"
_HEX_TO_ALPHABET = str.maketrans("0123456789abcdef", _ALPHABET)
SUFFIX, _STEP, _LONGEST = 10, 6, 64
MAX_LENGTH = 40 + _LONGEST + 3
_PATTERN = re.compile(rf"<[A-Z][A-Z0-9_]{{0,39}}_[{_ALPHABET}]{{{SUFFIX},{_LONGEST}}}>")


def placeholder_pattern() -> re.Pattern[str]:
    """Matches whatever could be one, of any tenant and policy."""
    return _PATTERN


def placeholder(key: bytes, entity: str, value: str, taken: "set[str] | frozenset[str]") -> str:
    """Longer than usual only if what it would be is in ``taken``.

    Raises ``ValueError`` when even the whole digest is taken, which takes a copy of it.
    """
    message = entity.encode() + b"\0" + value.encode("utf-8", "surrogatepass")
    suffix = hmac.digest(key, message, "sha256").hex().translate(_HEX_TO_ALPHABET)
    for length in (*range(SUFFIX, _LONGEST, _STEP), _LONGEST):
        token = f"<{entity}_{suffix[:length]}>"
        if token not in taken:
            return token
    message_text = "every placeholder for a value stands in the text already"
    raise ValueError(message_text)
