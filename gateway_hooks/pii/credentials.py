"""Keys, tokens and passwords: by the prefixes that their makers gave them, or by the name they are assigned
to.
"""

import re

from gateway_hooks.pii.scan import PULSE, Finds, Scan, regex
from gateway_hooks.pii.spans import Span

_KEY = regex(
    r"(?:\b|_)(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA|AIDA|AROA)[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}|gl(?:pat|dt|rt|ptt|cbt|oas|soat|ft|imt|agent)-[A-Za-z0-9_\-]{20,255}"
    r"|xox[abeoprs]-[A-Za-z0-9\-]{10,250}|xapp-[0-9]-[A-Za-z0-9\-]{10,250}"
    r"|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{10,250}|whsec_[A-Za-z0-9+/=]{20,250}"
    r"|sk-[A-Za-z0-9_\-]{16,250}"
    r"|AIza[A-Za-z0-9_\-]{30,40}|GOCSPX-[A-Za-z0-9_\-]{20,40}|ya29\.[A-Za-z0-9_\-]{20,500}"
    r"|SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{30,64}"
    r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_\-]{50,250}|rubygems_[a-f0-9]{48}|hf_[A-Za-z0-9]{30,40}|r8_[A-Za-z0-9]{37}"
    r"|gsk_[A-Za-z0-9]{40,60}|xai-[A-Za-z0-9]{60,100}|pplx-[A-Za-z0-9]{40,60}|nvapi-[A-Za-z0-9_\-]{40,100}"
    r"|do[opr]_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}|(?:SK|AC)[0-9a-f]{32}|key-[0-9a-f]{32}"
    r"|sq0(?:atp|csp|idp)-[A-Za-z0-9_\-]{20,50}|EAAA[A-Za-z0-9_\-]{40,100}|dapi[a-h0-9]{32}|hv[sb]\.[A-Za-z0-9_\-]{20,200}"
    r"|lin_api_[A-Za-z0-9]{40}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|dckr_pat_[A-Za-z0-9_\-]{20,60}|NRAK-[A-Z0-9]{27}"
    r"|AGE-SECRET-KEY-1[0-9A-Z]{58}|tskey-[a-z]{3,10}-[A-Za-z0-9\-]{10,80}|ntn_[A-Za-z0-9]{40,50}|secret_[A-Za-z0-9]{43}"
    r"|[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}|[MNO][A-Za-z0-9_\-]{23,25}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,38}"
    r")"
)
_HOOK = regex(
    r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_\-]{20,100}"
    r"|https://(?:[a-z]{1,10}\.)?discord(?:app)?\.com/api/webhooks/[0-9]{10,25}/[A-Za-z0-9_\-]{30,100}"
)
_JWT = regex(r"\beyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?")
_HEADER = regex(
    r"(?i)\b(?:bearer|basic|token)[ \t]{1,3}([A-Za-z0-9_\-.~+/]{12,}={0,2})", capture=True
)  # fmt: skip
_PEM = regex(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^\-\x00]|-[^\-\x00])*(?:-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
)
_ASSIGNED = regex(
    r"(?i)((?:api|access|secret|secret[ _\-]?access|account|auth|encryption|signing|private)[ _\-]?key"
    r"|access[ _\-]?key[ _\-]?id"
    r"|(?:client|app|webhook)[ _\-]?secret|(?:auth|access|refresh|id|session)[ _\-]?token"
    r"|passwords?|passwd|passphrase|passcode|passwort|kennwort|contrase\xf1a|mot de passe|wachtwoord"
    r"|l\xf6senord"
    r"|(?:\b|_)(?:pass|pwd|secret|token|senha|pin code|pin))"
    r"(?:\\?[\"'`]\]?)?(?:[ \t]{0,4}(?::=|=>|[:=])[ \t]{0,4}"
    r"|[ \t]{1,3}(?:is|was|ist|es|est)(?:[ \t]{0,2}:)?[ \t]{1,3})"
    r"(?:\\?\"([^\"\n\x00\\]{4,200})|\\?'([^'\n\x00\\]{4,200})|`([^`\n\x00]{4,200})|([^\s\"'`<>\x00]{4,200}))",
    capture=True,
)
_WORDS_SAID = re.compile(rb"(?:is|was|ist|es|est)[ \t:]*[\"'`]?$", re.IGNORECASE)
_NO_SECRET = re.compile(
    rb"(?i)(?:none|null|nil|true|false|undefined|required|optional|string|str|bool|int|bytes|empty|unknown|missing|invalid|"
    rb"incorrect|wrong|expired|changed|reset|password|passwd|your.*|my_?password|example|redacted|hidden|secret|token|"
    rb"[*x.\-_#\xbf\xb7\x95]+|\$.*|\{.*|%.*|<.*|\[.*|.*\(.*|os\..*|env\..*|process\.env.*|settings\..*|self\..*|config\..*|request\..*|"
    rb"args\..*|options\..*|[a-z_]+\.[a-z_]+(?:\.[a-z_]+)*)"
)
_IDENTIFIER = re.compile(rb"[A-Za-z]+(?:_[A-Za-z]+)+|[A-Za-z_.]+\[[0-9A-Za-z_]*|lambda|Final|ReadOnly")
_PASSWORD_NAME = re.compile(rb"(?i)pass|pwd|wort|contra|senha|wacht|senord|pin")
_TAIL = b".,;:!?)]}"
_LEAST_KEY = 8


def find_keys(scan: Scan) -> Finds:
    """Spans of API_KEY that their form tells."""
    data = scan.view.data
    for pattern in (_KEY, _HOOK):
        for number, match in enumerate(pattern.finditer(data)):
            if number % PULSE == 0:
                yield None
            start, end = match.span()
            start += data[start] == ord("_")
            if _is_random(data[start:end]):
                yield Span(start, end, "API_KEY")


def _is_random(key: bytes) -> bool:
    """Words in kebab-case that happen to begin like a key have no digit."""
    return any(char in b"0123456789" for char in key)


def find_tokens(scan: Scan) -> Finds:
    """Spans of ACCESS_TOKEN: JSON web tokens and what follows the scheme in an authorization header."""
    data = scan.view.data
    if b"eyJ" in data:
        for match in _JWT.finditer(data):
            yield Span(match.start(), match.end(), "ACCESS_TOKEN")
    for number, match in enumerate(_HEADER.finditer(data)):
        if number % PULSE == 0:
            yield None
        start, end = match.span(1)
        end = start + len(data[start:end].rstrip(b"."))
        if _is_random(data[start:end]):
            yield Span(start, end, "ACCESS_TOKEN")


def find_private_keys(scan: Scan) -> Finds:
    """PEM blocks; one whose end is missing counts as far as it goes."""
    if b"PRIVATE KEY" not in scan.view.data:
        return
    for match in _PEM.finditer(scan.view.data):
        yield None
        yield Span(match.start(), match.start() + len(match[0].rstrip()), "PRIVATE_KEY")


def find_assigned(scan: Scan) -> Finds:
    """Spans of PASSWORD and API_KEY: what is assigned to, or said to be, a password, key or token."""
    data = scan.view.data
    for number, match in enumerate(_ASSIGNED.finditer(data)):
        if number % PULSE == 0:
            yield None
        group = next(group for group in (2, 3, 4, 5) if match[group] is not None)
        start, end = match.span(group)
        quoted = group != 5  # noqa: PLR2004
        if not quoted:
            end = start + len(_bare(data[start:end]))
            if _IDENTIFIER.fullmatch(data, start, end):
                continue
        entity = "PASSWORD" if _PASSWORD_NAME.search(match[1]) else "API_KEY"
        if entity in scan.wanted and _is_secret(data, match.end(1), start, end, entity):
            yield Span(start, end, entity)


def _bare(value: bytes) -> bytes:
    """A word without the punctuation of the sentence or the query string that it stands in."""
    return re.split(rb"[&;,](?=$|[^\s])", value)[0].rstrip(_TAIL)


def _is_secret(data: bytes, named: int, start: int, end: int, entity: str) -> bool:
    value = data[start:end]
    said = _WORDS_SAID.search(data[named:start]) is not None
    if len(value) < (_LEAST_KEY if entity == "API_KEY" else 4) or _NO_SECRET.fullmatch(value):
        return False
    digit = any(char in b"0123456789" for char in value)
    if entity == "API_KEY":
        return digit
    if said or data[max(0, named - 5) : named].lower().endswith((b" pass", b"_pass")):
        return digit or not (value.strip(b"*_").isalnum() or b" " in value)
    return True
