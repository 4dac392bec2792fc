"""What the model itself writes, masked while it streams."""

import re
from collections import Counter

import re2

from gateway_hooks.pii.detect import detect_overlapping
from gateway_hooks.pii.errors import PiiBlocked
from gateway_hooks.pii.placeholders import placeholder
from gateway_hooks.pii.policy import CompiledPolicy
from gateway_hooks.pii.spans import unite

CONTEXT = 160
"""Characters already passed on that still tell what a number after them is."""
LONGEST = 8_192
"""Characters held back at most; a private key of 8,192 bits has about 6,400."""
_TAIL_WITH_RULES = 256
_BETWEEN = 2
"""Words without digits that may stand inside a value, such as an IBAN's bank code."""
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[^\s{_UNSPACED}]+")
_VALUE_LIKE = re.compile(
    r"\d|[+]|^(?:jan|feb|fev|m[aä]r|maa|a[pv]r|ma[iyjg]|ju[inl]|giu|lug|aug|aoû|ago|se[pt]|o[ck]t|out|ott|"
    r"nov|d[eé][cz]|dic|ene|gen)",
    re.IGNORECASE,
)
_CAPITALS = re.compile(r"[A-Z]{1,6}")
_KEY_BEGINS = "-----BEGIN"
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")
_ZONE = re.compile(r"(?:[A-Z0-9<]{30,44}\s{1,4}){1,2}$")
_QUOTED_SECRET = re2.compile(
    r"(?i)(?:pass|pwd|secret|token|key|wort|senha|contra|l\xf6senord|pin)[\w \-]{0,20}\\?[\"'`]?\]?"
    r"\W{0,8}?(\\?[\"'`])[^\"'`\n]{0,200}$"
)


class CompletionMasker:
    """One per choice and field. Runs before ``Restorer``: placeholders pass through it untouched.

    A word without digits is passed on when the next one begins, unless it stands among words with some in the
    same line. The result is that of masking each value of the whole text, but for: values told only by a word
    more than ``CONTEXT`` characters before or by one after them, and matches of a tenant's own rules longer
    than 256 characters. Other occurrences of a value are not looked for: they may have been passed on. A
    value that the model wrote gets a placeholder that is not restored. ``counts`` as for ``Masker``. Raises
    ``PiiBlocked`` for a blocked entity.
    """

    def __init__(self, compiled: CompiledPolicy, tenant_key: bytes) -> None:
        self.counts: Counter[str] = Counter()
        self._compiled = compiled
        self._key = tenant_key
        self._context = ""
        self._held = ""
        self._tail = _TAIL_WITH_RULES if compiled.rules else 0

    def feed(self, text: str) -> str:
        """What can be passed on, masked."""
        self._held += text
        return self._pass(self._safe_end())

    def flush(self) -> str:
        """The rest, masked."""
        return self._pass(len(self._held))

    def _safe_end(self) -> int:
        """Where no value can be in progress any more; all of it once too much is held."""
        held = self._held
        end = _line_end(held, _calm_end(held, len(held) - self._tail))
        begun = held.rfind(_KEY_BEGINS)
        if begun >= 0 and not _KEY_ENDS.search(held, begun):
            end = min(end, begun)
        quoted = _QUOTED_SECRET.search(self._context[-80:] + held[-240:])
        if quoted:
            end = min(end, max(0, len(held) - (quoted.end() - quoted.start(1))))
        return end if len(held) - end < LONGEST else len(held)

    def _pass(self, end: int) -> str:
        if not end:
            return ""
        head = len(self._context)
        whole = self._context + self._held
        limit, place = head + end, head
        pieces: list[str] = []
        found = detect_overlapping(whole, self._compiled)
        for span in unite(found, self._compiled.rank):
            if span.end <= place or span.start >= limit:
                continue
            if span.end > limit:
                limit = max(place, span.start)
                break
            start = max(place, span.start)
            pieces += [whole[place:start], self._token(whole[start : span.end], span.entity)]
            place = span.end
        for span in found:
            if head < span.end <= limit and self._compiled.actions.get(span.entity) == "block":
                raise PiiBlocked(span.entity)
        pieces.append(whole[place:limit])
        self._held, self._context = whole[limit:], _context(whole[:limit])
        return "".join(pieces)

    def _token(self, value: str, entity: str) -> str:
        self.counts[entity] += 1
        return placeholder(self._key, entity, value, frozenset())


def _context(passed: str) -> str:
    """The end of what was passed on, from the beginning of a word."""
    if len(passed) <= CONTEXT:
        return passed
    cut = passed.find(" ", len(passed) - CONTEXT)
    return passed[cut if cut >= 0 else len(passed) :]


def _calm_end(held: str, limit: int) -> int:
    """The beginning of the last words that may belong to one value; a word in progress always may."""
    words = [match.span() for match in _WORD.finditer(held, 0, max(0, limit))]
    if not words:
        return 0
    end, calm = words[-1][0], 0
    for start, stop in reversed(words[:-1]):
        if _VALUE_LIKE.search(held[start:stop]) or _CAPITALS.fullmatch(held, start, stop):
            end, calm = start, 0
        else:
            calm += 1
            if calm > _BETWEEN:
                break
    return end


def _line_end(held: str, end: int) -> int:
    """No value but a machine-readable zone or a key goes over the end of a line."""
    end = max(end, held.rfind("\n", end) + 1)
    zone = _ZONE.search(held[max(0, end - 100) : end]) if held[end - 1 : end].isspace() else None
    return end - len(zone[0]) if zone else end
