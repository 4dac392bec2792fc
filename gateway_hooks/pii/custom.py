"""A tenant's own patterns and deny-lists: checked when saved, linear when run.

RE2 takes one pass per search, but a search per match can still cost the square of the text when each looks
far ahead. So a pattern sees windows of ``WINDOW`` characters, half overlapping; a longer match is cut there.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import re2

from gateway_hooks.contract.pii import ENTITIES, Action, CustomPattern, DenyList, PiiPolicyError
from gateway_hooks.pii.scan import PULSE, Finds
from gateway_hooks.pii.spans import Span
from gateway_hooks.pii.view import BORDER, fold

WINDOW = 2048
_HALF = WINDOW // 2
MAX_PATTERN = 1000
_MAX_PROGRAM = 3000
MAX_WORDS_TEXT = 200_000
_WORDS_MEMORY = 64 << 20
_PROBES = ("", "a", "a b", "0", " \n", "é-1")
_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
_MAX_NAME = 40
_SURROGATES = re.compile("[\ud800-\udfff]")
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}"
_EDGE = rf"[^\pL\pM\pN_]|[{_UNSPACED}]"
_UNSPACED_WORD = re2.compile(rf"[{_UNSPACED}].*[{_UNSPACED}]|[{_UNSPACED}]")


class Rule(NamedTuple):
    """``bounded``: group 1 is the value, around it are the borders of a word."""

    name: str
    regex: "re2._Regexp"
    action: Action
    bounded: bool


def check_name(name: str) -> None:
    """Raises ``PiiPolicyError``: names become parts of placeholders."""
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME or name in ENTITIES:
        message = f"{name[:_MAX_NAME]!r} is no name of its own: A-Z, 0-9 and _, and no built-in entity"
        raise PiiPolicyError(message)


def pattern_rule(pattern: CustomPattern) -> Rule:
    """Raises ``PiiPolicyError`` with the reason."""
    check_name(pattern.name)
    if not pattern.pattern or len(pattern.pattern) > MAX_PATTERN:
        message = f"the pattern of {pattern.name} must have 1 to {MAX_PATTERN} characters"
        raise PiiPolicyError(message)
    try:
        regex = _compile(pattern.pattern)
    except (re2.error, UnicodeEncodeError) as error:
        message = f"RE2 does not take the pattern of {pattern.name}: {_reason(error)}"
        raise PiiPolicyError(message) from None
    if regex.programsize > _MAX_PROGRAM:
        message = f"the pattern of {pattern.name} is too large: smaller repetition counts make it smaller"
        raise PiiPolicyError(message)
    if any(match.start() == match.end() for probe in _PROBES for match in regex.finditer(probe)):
        message = f"the pattern of {pattern.name} matches the empty string"
        raise PiiPolicyError(message)
    return Rule(pattern.name, regex, pattern.action, bounded=False)


def _reason(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else "it holds a lone surrogate"


def _compile(pattern: str, *, words: bool = False) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors = False
    options.never_capture = not words
    options.case_sensitive = not words
    if words:
        options.max_mem = _WORDS_MEMORY
    return re2.compile(pattern, options)


def deny_rules(deny: DenyList) -> list[Rule]:
    """Raises ``PiiPolicyError`` for a list that is empty, too long, or has a blank word."""
    check_name(deny.name)
    words = [" ".join(fold(_plain(word))[0].split()) for word in deny.words]
    if not words or not all(words) or sum(map(len, words)) > MAX_WORDS_TEXT:
        message = (
            f"the deny-list {deny.name} needs words, none blank, {MAX_WORDS_TEXT} characters in all at most"
        )
        raise PiiPolicyError(message)
    words.sort(key=len, reverse=True)
    unspaced = [word for word in words if _UNSPACED_WORD.fullmatch(word)]
    spaced = [word for word in words if not _UNSPACED_WORD.fullmatch(word)]
    rules = []
    if unspaced:
        rules.append(
            Rule(
                deny.name, _compile("|".join(map(_escaped, unspaced)), words=True), deny.action, bounded=False
            )
        )
    if spaced:
        pattern = rf"(?:^|{_EDGE})({'|'.join(map(_escaped, spaced))})(?:$|{_EDGE})"
        rules.append(Rule(deny.name, _compile(pattern, words=True), deny.action, bounded=True))
    return rules


def _escaped(word: str) -> str:
    return r"\s{1,3}".join(re.escape(part) for part in word.split(" "))


def _plain(text: str) -> str:
    """Lone surrogates, which UTF-8 has no form for, give way to a character of the same length."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def find_custom(clean: str, rules: tuple[Rule, ...]) -> Finds:
    """Spans in ``clean`` of all rules; none crosses a border."""
    if not rules:
        return
    for base, segment in _segments(_plain(clean)):
        for rule in rules:
            yield None
            yield from _words(rule, segment, base) if rule.bounded else _windows(rule, segment, base)


def _segments(clean: str) -> Iterator[tuple[int, str]]:
    base = 0
    for segment in clean.split(BORDER):
        if segment:
            yield base, segment
        base += len(segment) + 1


def _windows(rule: Rule, segment: str, base: int) -> Finds:
    for first in range(0, max(1, len(segment) - _HALF), _HALF):
        window = segment[first : first + WINDOW]
        final = first + WINDOW >= len(segment)
        for number, (start, end) in enumerate(_places(rule.regex, window)):
            if number % PULSE == 0:
                yield None
            if end > start and (start or not first) and (start <= _HALF or final):
                yield Span(base + first + start, base + first + end, rule.name)


def _places(regex: "re2._Regexp", text: str) -> Iterator[tuple[int, int]]:
    """Matches as character offsets; on bytes, which is several times as quick as on text."""
    raw = text.encode()
    spans = (match.span() for match in regex.finditer(raw))
    if len(raw) == len(text):
        yield from spans
        return
    byte, char = 0, 0
    for start, end in spans:
        char += len(raw[byte:start].decode())
        length = len(raw[start:end].decode())
        yield char, char + length
        byte, char = end, char + length


def _words(rule: Rule, segment: str, base: int) -> Finds:
    """The border after one word may be the border before the next, so each search starts at a word's end."""
    for first in range(0, len(segment), WINDOW):
        before = max(0, first - 1)
        window = segment[before : first + WINDOW + _HALF]
        place, found = 0, 0
        while (match := rule.regex.search(window, place)) is not None:
            start, place = match.span(1)
            found += 1
            if found % PULSE == 0:
                yield None
            cut = place == len(window) and first + WINDOW + _HALF < len(segment)
            if not cut and (before == 0 or start > 0):
                yield Span(base + before + start, base + before + place, rule.name)
