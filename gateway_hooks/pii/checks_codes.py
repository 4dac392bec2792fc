"""Checks of values that are not just digits: accounts, wallets, addresses, travel documents."""

import hashlib
import re
import socket
from operator import mul

_IBAN = """
AD24 AE23 AL28 AO25 AT20 AZ28 BA20 BE16 BF28 BG22 BH22 BI27 BJ28 BR29 BY28 CF27 CG27 CH21 CI28 CM27 CR22 CV25
CY28 CZ24 DE22 DJ27 DK18 DO28 DZ26 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GA27 GB22 GE22 GI23 GL18 GQ27 GR27 GT28
GW25 HN28 HR21 HU28 IE22 IL23 IQ23 IR26 IS26 IT27 JO30 KM27 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MA28
MC27 MD24 ME22 MG27 MK19 ML28 MN20 MR27 MT31 MU30 MZ25 NE28 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24
RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SN28 SO23 ST25 SV28 TD27 TG28 TL23 TN24 TR26 UA29 VA22 VG24 XK20
YE30
"""
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN.split()}
"""The registry's countries and those that use the form without being in it."""

_BASE58 = {
    char: number for number, char in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}
_BASE58_VERSIONS = frozenset({0x00, 0x05, 0x1E, 0x16, 0x30, 0x32, 0x41, 0x6F, 0xC4})
"""Bitcoin, Dogecoin, Litecoin, Tron and Bitcoin's test net."""
_BECH32 = {char: number for number, char in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_BECH32_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32_SUMS = frozenset({1, 0x2BC830A3})
"""What remains for bech32 (BIP 173) and bech32m (BIP 350)."""
_LETTERS = {chr(code): str(code - 55) for code in range(ord("A"), ord("Z") + 1)}
_MRZ_WEIGHTS = (7, 3, 1)


def iban(value: str) -> bool:
    """Length of its country, modulo 97 (ISO 13616); upper-case, no spaces."""
    if IBAN_LENGTHS.get(value[:2]) != len(value):
        return False
    return int("".join(_LETTERS.get(char, char) for char in value[4:] + value[:4])) % 97 == 1


def base58(value: str) -> bool:
    """25 bytes that end in their double SHA-256."""
    number = 0
    for char in value:
        number = number * 58 + _BASE58[char]
    try:
        raw = number.to_bytes(25, "big")
    except OverflowError:
        return False
    digest = hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()
    return raw[0] in _BASE58_VERSIONS and digest[:4] == raw[21:]


def bech32(value: str) -> bool:
    """One case only; prefix, separator ``1``, data with a checksum of six characters."""
    if value not in (value.lower(), value.upper()):
        return False
    prefix, _, data = value.lower().rpartition("1")
    if not all(char in _BECH32 for char in data):
        return False
    codes = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    return _polymod(codes + [_BECH32[char] for char in data]) in _BECH32_SUMS


def _polymod(codes: list[int]) -> int:
    total = 1
    for code in codes:
        top = total >> 25
        total = (total & 0x1FFFFFF) << 5 ^ code
        for bit, generator in enumerate(_BECH32_GENERATOR):
            if top >> bit & 1:
                total ^= generator
    return total


def ipv4(value: str) -> bool:
    parts = value.split(".")
    return len(parts) == 4 and all(part == "0" or (part[0] != "0" and int(part) < 256) for part in parts)  # noqa: PLR2004


def ipv6(value: str) -> bool:
    """What RFC 4291 allows, but for ``::`` and forms as short as those of slices and scopes in code."""
    try:
        socket.inet_pton(socket.AF_INET6, value)
    except OSError:
        return False
    hexes = sum(char != ":" for char in value)
    return value == "::1" or (hexes >= 4 and any(char.isdigit() for char in value))  # noqa: PLR2004


def mac(value: str) -> bool:
    """Neither broadcast nor nobody's."""
    return len(set(re.sub(r"[^0-9a-f]", "", value.lower()))) > 1


def mrz(value: str) -> bool:
    """Two or three lines of ICAO 9303, joined: number, birth and expiry have check digits."""
    if len(value) in (88, 72):
        second = value[len(value) // 2 :]
        fields = ((0, 9), (13, 19), (21, 27))
    else:
        second, fields = value, ((5, 14), (30, 36), (38, 44))
    return all(_mrz_sum(second[start:end]) == second[end] for start, end in fields)


def _mrz_sum(field: str) -> str:
    codes = (0 if char == "<" else int(char, 36) for char in field)
    return str(sum(map(mul, _MRZ_WEIGHTS * 5, codes)) % 10)
