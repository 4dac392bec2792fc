"""Phone numbers: international ones by the numbering plan, national ones by shape or a word near them."""

import functools
import re

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.phonemetadata import PhoneMetadata

from gateway_hooks.pii.scan import PULSE, Finds, Scan, ends_clean, regex, starts_clean
from gateway_hooks.pii.spans import Span

PHONE = "PHONE_NUMBER"
_EXTENSION = r"(?:,? {0,2}(?:x|ext\.?|extension|#) {0,2}[0-9]{1,6})?"
_INTERNATIONAL = regex(
    rf"(?i)(?:\(?\+|\b00|\b011[ \-.])[ ]?\(?[1-9](?:[ \-./()]{{0,3}}[0-9]){{6,14}}{_EXTENSION}"
)  # fmt: skip
_NATIONAL = regex(
    r"(?i)(?:"
    r"(?:\b1[ \-.]{0,3})?(?:\([2-9][0-9]{2}\)[ \-.]{0,2}|\b[2-9][0-9]{2}[ \-./]{1,2})"
    r"[0-9]{3}[ \-.]{1,2}[0-9]{4}"
    r"|\(0?[0-9]{2,5}\)[ \-./]{0,3}[0-9]{2,8}(?:[ \-.][0-9]{2,5}){0,3}"
    r"|\b0[1-9](?:[ .\-][0-9]{2}){4}"
    r"|\b0[1-9][0-9]{0,3}[ \-/]{1,3}[0-9]{3,8}(?:[ \-][0-9]{2,5}){0,3}"
    r"|\b[67][0-9]{2} [0-9]{2} [0-9]{2} [0-9]{2}"
    r"|\b1[3-9][0-9][ \-][0-9]{4}[ \-][0-9]{4}"
    rf"){_EXTENSION}"
)
_NAMED = regex(rf"(?i)(?:\b|\(|_)[0-9](?:[ \-./()]{{0,2}}[0-9]){{6,13}}{_EXTENSION}")
_NANP = re.compile(rb"\(?([2-9]\d\d)\)?[ \-./]{0,2}(\d{3})[ \-./]")
_EXTENDED = re.compile(rb"(?i),?\s*(?:x|e|#).*$", re.DOTALL)
_DATE_LIKE = re.compile(
    rb"(?:\d{1,2}[-./]\d{1,2}[-./](?:\d{4}|\d{2})|(?:19|20)\d\d[-./]\d{1,2}[-./]\d{1,2})(?!\d)"
)
_LEAST, _MOST = 7, 15
_NATIONAL_DIGITS = range(9, 13)
_SHORTER_TRIES = 4


@functools.cache
def _plan(code: int) -> tuple[re.Pattern[str], ...]:
    """The numbers that the regions of one calling code may have; empty for codes that nobody has."""
    patterns = []
    for region in COUNTRY_CODE_TO_REGION_CODE.get(code, ()):
        metadata = (
            PhoneMetadata.metadata_for_nongeo_region(code)
            if region == "001"
            else PhoneMetadata.metadata_for_region(region)
        )
        general = metadata.general_desc if metadata is not None else None
        if general is not None and general.national_number_pattern is not None:
            patterns.append(re.compile(general.national_number_pattern))
    return tuple(dict.fromkeys(patterns))


def dialable(digits: str) -> bool:
    """``digits`` after the plus sign: a calling code and a number that its plan has room for.

    A trunk zero that should not be there, as in +44 (0)20, is forgiven.
    """
    for length in (1, 2, 3):
        plan = _plan(int(digits[:length]))
        if plan:
            number = digits[length:]
            return any(
                pattern.fullmatch(form)
                for form in dict.fromkeys((number, number.removeprefix("0")))
                for pattern in plan
            )
    return False


def find_phones(scan: Scan) -> Finds:
    """Spans of ``PHONE``."""
    if b"+" in scan.data or b"00" in scan.data or b"011" in scan.data:
        yield from _international(scan)
    yield from _national(scan)
    if not scan.contexts.silent:
        yield from _named(scan)


def _international(scan: Scan) -> Finds:
    data = scan.data
    for number, match in enumerate(_INTERNATIONAL.finditer(data)):
        if number % PULSE == 0:
            yield None
        start, end = match.span()
        if start and chr(data[start - 1]).isalnum():
            continue
        end = _dialable_end(data, start, end)
        if end:
            yield Span(start, end, PHONE)


def _dialable_end(data: bytes, start: int, end: int) -> int:
    """Where the number ends: trailing groups that the plan has no room for fall away; 0 if there is none."""
    if ends_clean(data, end) and _dials(_EXTENDED.sub(b"", data[start:end])):
        return end
    body = _EXTENDED.sub(b"", data[start:end])
    for _ in range(_SHORTER_TRIES):
        if _dials(body) and ends_clean(data, start + len(body)):
            return start + len(body)
        shorter = body.rstrip(b"0123456789").rstrip(b" -./(")
        if len(shorter) >= len(body):
            break
        body = shorter
    return 0


def _dials(body: bytes) -> bool:
    digits = re.sub(rb"\D", b"", body).decode()
    plus = b"+" in body
    if not plus:
        digits = digits.removeprefix("011").removeprefix("00") if not digits.startswith("00") else digits[2:]
    return _LEAST <= len(digits) <= _MOST and dialable(digits)


def _national(scan: Scan) -> Finds:
    data = scan.data
    for number, match in enumerate(_NATIONAL.finditer(data)):
        if number % PULSE == 0:
            yield None
        start, end = match.span()
        if data[start] == ord("(") and start and chr(data[start - 1]).isalnum():
            continue
        if not (starts_clean(data, start) or data[start] == ord("(")) or not ends_clean(data, end):
            continue
        if _amid_numbers(data, start, end):
            continue
        if _national_shape(data[start:end]) and not scan.contexts.near(start, end).contrary:
            yield Span(start, end, PHONE)


def _amid_numbers(data: bytes, start: int, end: int) -> bool:
    """More groups of digits on either side: a part of an account number or of a row of a table."""
    before, after = data[max(0, start - 2) : start], data[end : end + 2]
    return (before[1:] == b" " and before[:1].isdigit()) or (after[:1] == b" " and after[1:].isdigit())


def _national_shape(value: bytes) -> bool:
    body = _EXTENDED.sub(b"", value)
    digits = re.sub(rb"\D", b"", body)
    if _DATE_LIKE.match(body):
        return False
    nanp = _NANP.search(body)
    if nanp and len(digits.removeprefix(b"1")) == 10:  # noqa: PLR2004
        return body[:1] == b"(" or b"-" in body or (b"." in body and nanp[2][:1] >= b"2")
    return len(digits) in _NATIONAL_DIGITS


def _named(scan: Scan) -> Finds:
    data = scan.data
    for number, match in enumerate(_NAMED.finditer(data)):
        if number % PULSE == 0:
            yield None
        start, end = match.span()
        start += data[start] == ord("_")
        if not (starts_clean(data, start) or data[start - 1] == ord("+")) or not ends_clean(data, end):
            continue
        if PHONE in scan.contexts.near(start, end).entities and not _DATE_LIKE.match(data[start:end]):
            yield Span(start, end, PHONE)
