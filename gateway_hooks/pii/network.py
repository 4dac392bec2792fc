"""Addresses of people, hosts and wallets: each has a form of its own and, but for e-mail, a check."""

import re
from collections.abc import Callable, Iterator

import re2

from gateway_hooks.pii import checks_codes
from gateway_hooks.pii.scan import PULSE, Finds, Scan, ends_clean, regex, starts_clean
from gateway_hooks.pii.spans import Span

_LETTER = r"\xc0-\xff"
_EMAIL = regex(
    rf"[A-Za-z0-9{_LETTER}_][A-Za-z0-9{_LETTER}_.+%'&=/!#$*?^`{{|}}~\-]{{0,63}}@"
    rf"(?:[A-Za-z0-9{_LETTER}](?:[A-Za-z0-9{_LETTER}\-]{{0,61}}[A-Za-z0-9{_LETTER}])?\.){{1,8}}"
    rf"(?:xn--[A-Za-z0-9\-]{{2,40}}|[A-Za-z{_LETTER}]{{2,24}})"
)
_AROUND_LOCAL = b"`{|}=/!#$*?^&"
_FILES = frozenset(
    b"png jpg jpeg gif svg webp ico js ts tsx jsx css scss html htm json xml yaml yml toml txt md py go rs "
    b"mjs java php "
    b"rb sh exe dll zip gz tar pdf local localhost".split()
)  # fmt: skip
_IPV4 = regex(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3,}")
_IPV6 = regex(r"(?i)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,8}(?:[0-9]{0,2}(?:\.[0-9]{1,3}){3})?")
_IPV6_NEIGHBOURS = re.compile(rb"[\w:.\xc0-\xff]")
_MAC = regex(
    r"(?i)[0-9a-f]{2}(?:-[0-9a-f]{2}){5,}|[0-9a-f]{2}(?::[0-9a-f]{2}){5,}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2,}"
)
_MAC_LENGTHS = frozenset({17, 23, 14})
_MAC_BARE = regex(r"(?i)\b[0-9a-f]{12}\b")
_URL = regex(
    r"(?i)\b[a-z][a-z0-9+.\-]{1,20}://[^\s/@:\"'<>\x00]{0,128}:[^\s/\"'<>\x00]{1,256}@[^\s\"'<>`|\\\x00]{1,512}"
)
_URL_TAIL = b".,;:!?)]}"
_BASE58 = regex(r"\b[13LMDTmn29][1-9A-HJ-NP-Za-km-z]{25,34}\b")
_BECH32 = regex(r"(?i)\b(?:bc1|tb1|ltc1|addr1)[02-9ac-hj-np-z]{11,100}\b")
_ETHEREUM = regex(r"\b0[xX][0-9a-fA-F]{40}\b")
_IBAN = regex(rf"(?i)\b(?:{'|'.join(sorted(checks_codes.IBAN_LENGTHS))})[0-9]{{2}}[ \-]?[0-9a-z]{{3,30}}")


def _iban_form(length: int) -> re.Pattern[bytes]:
    return re.compile(rb"(?i)[a-z]{2}[0-9]{2}(?:[ -]?[0-9a-z]){%d}(?![0-9a-z_])" % (length - 4))


_IBAN_FORMS = {length: _iban_form(length) for length in set(checks_codes.IBAN_LENGTHS.values())}


def find_emails(scan: Scan) -> Finds:
    data = scan.data
    if b"@" not in data:
        return
    for number, match in enumerate(_EMAIL.finditer(data)):
        if number % PULSE == 0:
            yield None
        start, end = match.span()
        at = data.index(b"@", start)
        start = _local_start(data, start, at)
        if start < at and data[end : end + 1] != b"@" and _is_domain(data[at + 1 : end], data, end):
            yield Span(start, end, "EMAIL_ADDRESS")


def _local_start(data: bytes, start: int, at: int) -> int:
    """Quotes, slashes and assignments before an address are seldom a part of it."""
    for place in range(at - 1, start - 1, -1):
        quote = data[place] == ord("'") and not data[place - 1 : place].isalnum()
        if quote or data[place] in _AROUND_LOCAL:
            return place + 1
    return start


def _is_domain(domain: bytes, data: bytes, end: int) -> bool:
    cut = data[end : end + 1].isalnum()
    return not cut and domain.rsplit(b".", 1)[-1].lower() not in _FILES


def find_ips(scan: Scan) -> Finds:
    data = scan.data
    if data.count(b".") > 2:  # noqa: PLR2004
        yield from _ipv4(scan)
    if data.count(b":") > 1:
        for number, match in enumerate(_IPV6.finditer(data)):
            if number % PULSE == 0:
                yield None
            span = _ipv6(data, *match.span())
            if span:
                yield span


def _ipv4(scan: Scan) -> Finds:
    data = scan.data
    for number, match in enumerate(_IPV4.finditer(data)):
        if number % PULSE == 0:
            yield None
        start, end = match.span()
        if not starts_clean(data, start) or (end < len(data) and data[end : end + 1].isalnum()):
            continue
        text = data[start:end].decode()
        if text.count(".") == 3 and checks_codes.ipv4(text) and not scan.contexts.near(start, end).contrary:  # noqa: PLR2004
            yield Span(start, end, "IP_ADDRESS")


def _ipv6(data: bytes, start: int, end: int) -> Span | None:
    if data[end - 1] == ord(":") and data[end - 2] != ord(":"):
        end -= 1
    before, after = data[max(0, start - 1) : start], data[end : end + 2]
    if _IPV6_NEIGHBOURS.match(before) or re.match(rb"[\w:\xc0-\xff]|\.\w", after):
        return None
    if before == b"[" and start > 1 and data[start - 2 : start - 1].isalnum():
        return None
    return Span(start, end, "IP_ADDRESS") if checks_codes.ipv6(data[start:end].decode()) else None


def find_macs(scan: Scan) -> Finds:
    data = scan.data
    for number, match in enumerate(_MAC.finditer(data)):
        if number % PULSE == 0:
            yield None
        start, end = match.span()
        free = starts_clean(data, start) and ends_clean(data, end) and data[end : end + 1] not in (b":", b"-")
        before = data[max(0, start - 1) : start]
        if (
            free
            and before not in (b":", b"-")
            and end - start in _MAC_LENGTHS
            and checks_codes.mac(data[start:end].decode())
        ):
            yield Span(start, end, "MAC_ADDRESS")
    if not scan.contexts.silent:
        for match in _MAC_BARE.finditer(data):
            if "MAC_ADDRESS" in scan.contexts.near(*match.span()).entities:
                yield Span(match.start(), match.end(), "MAC_ADDRESS")


def find_urls(scan: Scan) -> Finds:
    data = scan.view.data
    if b"://" not in data or b"@" not in data:
        return
    for match in _URL.finditer(data):
        start, end = match.span()
        yield Span(start, start + len(data[start:end].rstrip(_URL_TAIL)), "URL_CREDENTIALS")


def find_wallets(scan: Scan) -> Finds:
    yield from _checked(scan, _BASE58, checks_codes.base58)
    yield from _checked(scan, _BECH32, checks_codes.bech32)
    if b"0x" in scan.data or b"0X" in scan.data:
        yield from _checked(scan, _ETHEREUM, lambda _: True)


def _checked(scan: Scan, pattern: "re2._Regexp", check: Callable[[str], bool]) -> Finds:
    for number, match in enumerate(pattern.finditer(scan.data)):
        if number % PULSE == 0:
            yield None
        if check(scan.data[match.start() : match.end()].decode()):
            yield Span(match.start(), match.end(), "CRYPTO")


def find_ibans(scan: Scan) -> Finds:
    data = scan.data
    for number, match in enumerate(_IBAN.finditer(data)):
        if number % PULSE == 0:
            yield None
        yield from _iban(data, match.start())


def _iban(data: bytes, start: int) -> Iterator[Span]:
    length = checks_codes.IBAN_LENGTHS[data[start : start + 2].decode().upper()]
    match = _IBAN_FORMS[length].match(data, start)
    if match and checks_codes.iban(match[0].translate(None, b" -").decode().upper()):
        yield Span(start, match.end(), "IBAN_CODE")
