"""What differs between two configurations, in sentences. Pure."""

from collections.abc import Sequence

from gateway_hooks.configuration import Change

SHOWN = 8
_TITLES = {
    "system_prompt": "System prompt",
    "stop": "Stop words",
    "max_output_tokens": "Output cap (tokens)",
    "endpoints": "Allowed endpoints",
    "tools": "Allowed tools",
    "pii.patterns": "Own PII patterns",
    "pii.deny_lists": "PII deny lists",
    "pii.completions": "Masking of what the model writes",
    "pii.ner": "Deeper PII tier",
}


def change_title(field: str) -> str:
    """A field's path in words: ``bounds.temperature.low`` is "Least temperature"."""
    if field in _TITLES:
        return _TITLES[field]
    head, _, rest = field.partition(".")
    name, _, end = rest.rpartition(".")
    match head:
        case "defaults":
            return f"Default of {rest}"
        case "bounds":
            return f"{'Least' if end == 'low' else 'Greatest'} {name}"
        case "pii":
            return f"Personal data: {rest.removeprefix('entities.')}"
        case _:
            return field


def readable_lines(lines: Sequence[str]) -> list[str]:
    """Without the positions of ``diff -u``: what is left out between two of them is an ellipsis."""
    shown = ["…" if line.startswith("@@") else line for line in lines]
    return shown[1:] if shown[:1] == ["…"] else shown


def sentences(changes: Sequence[Change]) -> tuple[str, ...]:
    """The first ``SHOWN``, and how many more there are."""
    found = [_sentence(change) for change in changes[:SHOWN]]
    if len(changes) > SHOWN:
        found.append(f"And {len(changes) - SHOWN} more changes.")
    return tuple(found)


def _sentence(change: Change) -> str:
    title = change_title(change.field)
    if change.lines:
        added = sum(line.startswith("+") for line in change.lines)
        removed = sum(line.startswith("-") for line in change.lines)
        return f"{title}: {added} lines added, {removed} taken out."
    if change.before is None:
        return f"{title}: {_short(change.after)}, not set before."
    if change.after is None:
        return f"{title}: no longer set, was {_short(change.before)}."
    return f"{title}: {_short(change.after)}, was {_short(change.before)}."


def _short(text: str | None) -> str:
    text = text or "none"
    return text if len(text) <= 80 else f"{text[:77]}…"  # noqa: PLR2004 - a line on a narrow screen
