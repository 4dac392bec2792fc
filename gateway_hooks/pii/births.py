"""Dates of birth: a date in any usual order and spelling, beside a word that says whose it is."""

import re
from datetime import date

from gateway_hooks.pii.scan import PULSE, Finds, Scan, ends_clean, regex, starts_clean
from gateway_hooks.pii.spans import Span

BIRTH = "DATE_OF_BIRTH"
_MONTHS = """
jan fev feb mar mär maa apr avr abr mai may mag maj jun jui juin giu jul lug aug aoû ago sep set oct okt out
ott nov dec dez dic déc ene gen
"""
_MONTH = rf"(?:{'|'.join(sorted(_MONTHS.split(), key=len, reverse=True))})[a-zà-ÿ]{{0,7}}\.?"
_DATE = regex(
    r"(?i)\b(?:"
    r"(?:1[89]|20)[0-9]{2}[-/. ][0-9]{1,2}[-/. ][0-9]{1,2}"
    r"|[0-9]{1,2} ?[-/.] ?[0-9]{1,2} ?[-/.] ?(?:[0-9]{4}|[0-9]{2})"
    r"|[0-9]{1,2} [0-9]{1,2} (?:1[89]|20)[0-9]{2}"
    r"|(?:1[89]|20)[0-9]{6}"
    rf"|[0-9]{{1,2}}(?:st|nd|rd|th|\.|er|º)?[ \-](?:of |de )?{_MONTH}"
    r",?[ \-](?:de |of )?(?:[0-9]{4}|'?[0-9]{2})"
    rf"|{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}}"
    rf"|{_MONTH}[-/][0-9]{{1,2}}[-/][0-9]{{4}}"
    r")\b"
)
_NUMBERS = re.compile(rb"\d+")
_FIRST, _LAST = 1850, 2100


def find_births(scan: Scan) -> Finds:
    """Spans of ``BIRTH``."""
    if scan.contexts.silent:
        return
    for number, match in enumerate(_DATE.finditer(scan.data)):
        if number % PULSE == 0:
            yield None
        start, end = match.span()
        if BIRTH not in scan.contexts.near(start, end).entities:
            continue
        if starts_clean(scan.data, start) and ends_clean(scan.data, end) and _is_date(scan.data[start:end]):
            yield Span(start, end, BIRTH)


def _is_date(value: bytes) -> bool:
    numbers = [int(group) for group in _NUMBERS.findall(value)]
    if len(numbers) == 1:
        numbers = [numbers[0] // 10000, numbers[0] // 100 % 100, numbers[0] % 100]
    if len(numbers) == 2:  # noqa: PLR2004
        return 1 <= numbers[0] <= 31 and (numbers[1] < 100 or _FIRST <= numbers[1] <= _LAST)  # noqa: PLR2004
    first, second, third = numbers
    if first > 31:  # noqa: PLR2004
        return _exists(first, second, third)
    year = third if third > 99 else 2000  # noqa: PLR2004
    return _exists(year, second, first) or _exists(year, first, second)


def _exists(year: int, month: int, day: int) -> bool:
    try:
        return _FIRST <= date(year, month, day).year <= _LAST
    except ValueError:
        return False
