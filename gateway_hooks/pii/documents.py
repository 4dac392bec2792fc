"""Identity, health and travel documents whose numbers carry letters."""

import re
from collections.abc import Callable
from typing import NamedTuple

from gateway_hooks.pii import checks, checks_codes
from gateway_hooks.pii.scan import PULSE, Finds, Scan, ends_clean, regex, starts_clean
from gateway_hooks.pii.spans import Span

_TOKEN = regex(
    r"(?i)\b(?:"
    r"[A-Z]{2} [0-9]{2} [0-9]{2} [0-9]{2} [A-D]"
    r"|[A-Z]{2} [0-9]{6} [A-D]"
    r"|[1-9][A-Z][A-Z0-9][0-9]-[A-Z][A-Z0-9][0-9]-[A-Z]{2}[0-9]{2}"
    r"|[A-Z]{1,2}[0-9]{6} ?\([0-9A]\)"
    r"|[XYZ]-[0-9]{7}-?[A-Z]|[XYZ][0-9]{7}-[A-Z]|[0-9]{8}-[A-Z]|[0-9]{7} [A-W][A-IW]?"
    r"|[0-9]{6}[-+A-FYXWVU][0-9]{3}[0-9A-Y]"
    r"|[12] [0-9]{2} [0-9]{2} 2[AB] [0-9]{3} [0-9]{3} [0-9]{2}"
    r"|[A-Z]{6} [0-9]{2}[A-Z][0-9]{2} [A-Z][0-9]{3}[A-Z]"
    r"|[A-Z]{0,8}[0-9][0-9A-Z]{2,17}"
    r")"
)
_DIGIT_OF = bytes.maketrans(b"0123456789", b"\1" * 10)


def _any(_: str) -> bool:
    return True


class _Form(NamedTuple):
    """``shape`` of the bare value; ``context``: only beside a word for it; ``strict``: upper-case only."""

    entity: str
    shape: str
    check: Callable[[str], bool] = _any
    context: bool = False
    strict: bool = False


_NO_NINO = frozenset({"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})
_MBI = r"[AC-HJKMNP-RT-Y]"
_MBI_ANY = r"[AC-HJKMNP-RT-Y0-9]"
_ITALIAN_DIGIT = r"[0-9LMNPQRSTUV]"


def _has_digit(value: str) -> bool:
    return any(map(str.isdigit, value))


def _nino_prefix(value: str) -> bool:
    return value[:2] not in _NO_NINO


def _hong_kong(value: str) -> bool:
    return checks.hong_kong(value.replace("(", "").rstrip(")"))


_FORMS = (
    _Form("MEDICAL_LICENSE", r"[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7}", checks.dea),
    _Form("US_MBI", rf"[1-9]{_MBI}{_MBI_ANY}\d{_MBI}{_MBI_ANY}\d{_MBI}{{2}}\d\d"),
    _Form(
        "US_DRIVER_LICENSE",
        r"[A-Z]{1,2}\d{3,14}[A-Z]?|[A-Z]\d{3}[A-Z0-9]{4,10}|[A-Z]{5}\d{6}[A-Z0-9]{3,7}",
        context=True,
    ),
    _Form("US_PASSPORT", r"[A-Z]\d{8}", context=True),
    _Form("DE_PASSPORT", r"[CFGHJKL][CFGHJKLMNPRTVWXYZ0-9]{8}\d?D?", _has_digit, context=True),
    _Form("PASSPORT", r"[A-Z]{1,3}\d{5,8}[A-Z]?|\d{2}[A-Z]{2}\d{5}", context=True),
    _Form("UK_NINO", r"[ABCEGHJ-PRSTW-Z][ABCEGHJ-NPRSTW-Z]\d{6}[A-D]", _nino_prefix),
    _Form("DE_HEALTH_INSURANCE", r"[A-Z]\d{9}", checks.kvnr),
    _Form("ES_NIF", r"\d{8}[A-Z]|[KLM]\d{7}[A-Z]", checks.spanish_nif),
    _Form("ES_NIE", r"[XYZ]\d{7}[A-Z]", checks.spanish_nie),
    _Form("FI_PERSONAL_IDENTITY_CODE", r"\d{6}[-+A-FYXWVU]\d{3}[0-9A-Y]", checks.finnish_hetu),
    _Form("FR_NIR", r"[12]\d{4}2[AB]\d{8}", checks.french_nir),
    _Form("HK_ID", r"[A-Z]{1,2}\d{6}\([0-9A]\)", _hong_kong),
    _Form("IE_PPS", r"\d{7}[A-W][A-IW]?", checks.irish_pps),
    _Form("IN_PAN", r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", strict=True),
    _Form(
        "IT_FISCAL_CODE",
        rf"[A-Z]{{6}}{_ITALIAN_DIGIT}{{2}}[A-EHLMPRST]{_ITALIAN_DIGIT}{{2}}[A-Z]{_ITALIAN_DIGIT}{{3}}[A-Z]",
        checks.italian_code,
    ),
    _Form("MX_CURP", r"[A-Z]{4}\d{6}[A-Z]{6}[A-Z0-9]\d", checks.mexican_curp),
    _Form("CN_RESIDENT_ID", r"\d{17}X", checks.chinese_id),
    _Form("SG_NRIC_FIN", r"[STFGM]\d{7}[A-Z]", checks.singapore),
)
DOCUMENT_ENTITIES = frozenset(form.entity for form in _FORMS)
_ANY_SHAPE = re.compile("|".join(form.shape for form in _FORMS))
_COMPILED = tuple((form, re.compile(form.shape)) for form in _FORMS)
_MRZ_LINE = r"[A-Z0-9<]"
_MRZ = regex(
    rf"\b(?:P[A-Z<][A-Z]{{3}}{_MRZ_LINE}{{39}}\s{{1,4}}{_MRZ_LINE}{{44}}"
    rf"|[PIACV][A-Z<][A-Z]{{3}}{_MRZ_LINE}{{31}}\s{{1,4}}{_MRZ_LINE}{{36}}"
    rf"|[IAC][A-Z0-9<][A-Z]{{3}}{_MRZ_LINE}{{25}}\s{{1,4}}{_MRZ_LINE}{{30}}\s{{1,4}}{_MRZ_LINE}{{30}})"
)
_HETU = re.compile(r"\d{6}[-+A-FYXWVU]\d{3}[0-9A-Y]")
"""Its hyphen is a part of it."""
_LEAST_DIGITS = 3


def find_documents(scan: Scan) -> Finds:
    """Spans of every form above."""
    data = scan.data
    forms = [(form, shape) for form, shape in _COMPILED if form.entity in scan.wanted]
    for number, match in enumerate(_TOKEN.finditer(data)):
        if number % PULSE == 0:
            yield None
        start, end = match.span()
        token = data[start:end]
        if token.isdigit() or token.translate(_DIGIT_OF).count(1) < _LEAST_DIGITS:
            continue
        if starts_clean(data, start) and ends_clean(data, end):
            yield from _judge(scan, forms, start, end)


def _judge(scan: Scan, forms: list[tuple[_Form, "re.Pattern[str]"]], start: int, end: int) -> Finds:
    token = scan.data[start:end].decode("latin-1")
    bare = token.upper()
    if not bare.isalnum() and not _HETU.fullmatch(bare):
        bare = bare.replace(" ", "").replace("-", "")
    if not _ANY_SHAPE.fullmatch(bare):
        return
    for form, shape in forms:
        if form.strict and token != token.upper():
            continue
        if not shape.fullmatch(bare) or not form.check(bare):
            continue
        if not form.context or form.entity in scan.contexts.near(start, end).entities:
            yield Span(start, end, form.entity)


def find_mrz(scan: Scan) -> Finds:
    """The machine-readable zone of passports and cards, all its lines as one value."""
    data = scan.data
    if b"<<" not in data:
        return
    for match in _MRZ.finditer(data):
        yield None
        if checks_codes.mrz(re.sub(r"\s", "", data[match.start() : match.end()].decode())):
            yield Span(match.start(), match.end(), "PASSPORT_MRZ")
