"""The text of an API key: ``sk-tn-<id>-<secret>``, both parts hex.

The id is public: it names the key in consoles, logs and events. Whoever checks a key
looks the id up and compares digests in constant time.
"""

import hashlib
import re
import secrets

ID_BYTES = 6
SECRET_BYTES = 24
_PATTERN = re.compile(rf"sk-tn-([0-9a-f]{{{ID_BYTES * 2}}})-[0-9a-f]{{{SECRET_BYTES * 2}}}")


def new_key() -> tuple[str, str]:
    """``(id, whole key)``; 192 random bits, so a plain SHA-256 keeps it."""
    key_id = secrets.token_hex(ID_BYTES)
    return key_id, f"sk-tn-{key_id}-{secrets.token_hex(SECRET_BYTES)}"


def key_id_of(key: str) -> str | None:
    """The id of a well-formed key, else None."""
    match = _PATTERN.fullmatch(key)
    return match.group(1) if match else None


def key_sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
