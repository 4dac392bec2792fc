"""An upper bound of a prompt's tokens without a tokenizer.

A byte-level BPE model makes at most one token of each UTF-8 byte; what a chat template adds around each
message, and once around all, is covered by a margin. Tools count twice, since templates print their
JSON with indentation. Token ids count as they are.
"""

from typing import Any

import msgspec

MARGIN = 64
TOOLS_MARGIN = 512
_TOOL_FIELDS = frozenset({"tools", "tool_choice", "response_format", "text"})
_TEXT_FIELDS = ("messages", "system", "input", "instructions", "prompt", "suffix")
_NAMES = frozenset({"type", "role"})


def prompt_bound(fields: dict[str, Any]) -> int:
    """Tokens, at most. ``fields`` is a checked body."""
    bound = MARGIN
    for name in _TEXT_FIELDS:
        value = fields.get(name)
        if value is not None:
            bound += _size(value) + MARGIN * (len(value) if _is_messages(value) else 1)
    for name in _TOOL_FIELDS:
        value = fields.get(name)
        if value is not None and not isinstance(value, str):
            bound += 2 * len(msgspec.json.encode(value)) + TOOLS_MARGIN
    return bound


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and not all(isinstance(entry, int) for entry in value)


def _size(value: Any) -> int:
    """UTF-8 bytes of all strings below ``value``, one for each token id, all of a tool call's JSON."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum(map(_size, value))
    if isinstance(value, dict):
        return sum(_size(entry) + len(key) for key, entry in value.items() if key not in _NAMES)
    return 8 if isinstance(value, float) else 1
