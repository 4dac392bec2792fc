"""Check digits and other arithmetic that tells a number from a look-alike.

Each predicate takes the bare value: no separators, letters upper-case. Where ``stdnum`` knows the rule
it is asked; the sums of our own are those that look-alikes meet thousands of times in a long text.
"""

from collections.abc import Callable
from datetime import date
from operator import mul
from types import ModuleType

from stdnum import verhoeff
from stdnum.be import nn as belgian
from stdnum.br import cpf
from stdnum.ch import ssn as swiss
from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.es import nie, nif
from stdnum.exceptions import ValidationError
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.ie import pps
from stdnum.il import idnr as israeli
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.pt import nif as portuguese
from stdnum.za import idnr as south_african

_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_ISSUERS = (
    # First and last prefix of a range and its lengths: Visa, Mastercard, Maestro, American Express, Discover
    # and UnionPay, JCB, Mir, Mastercard, RuPay, Diners, UATP.
    ("4", "4", (13, 16, 19)),
    ("50", "55", (16,)),
    ("56", "59", (16, 18, 19)),
    ("6", "6", (16, 17, 18, 19)),
    ("34", "34", (15,)),
    ("37", "37", (15,)),
    ("35", "35", (16, 19)),
    ("2200", "2204", (16,)),
    ("2221", "2720", (16,)),
    ("81", "82", (16,)),
    ("36", "36", (14, 16, 19)),
    ("38", "39", (14, 16, 19)),
    ("300", "305", (14, 16, 19)),
    ("309", "309", (14, 16, 19)),
    ("1", "1", (15,)),
)
_ITIN_GROUPS = frozenset((*range(50, 66), *range(70, 89), *range(90, 93), *range(94, 100)))
_PLAIN = bytes.maketrans(b"0123456789", bytes(range(10)))


def _weighted(value: str, weights: tuple[int, ...]) -> int:
    """The sum of digits times weights; the shorter of the two says how many."""
    return sum(map(mul, weights, value.encode().translate(_PLAIN)))


def _knows(module: ModuleType) -> Callable[[str], bool]:
    """The predicate of one of stdnum's modules."""
    validate: Callable[[str], str] = module.validate

    def valid(value: str) -> bool:
        try:
            validate(value)
        except (ValidationError, ValueError):
            return False
        return True

    return valid


def luhn(value: str) -> bool:
    """ISO/IEC 7812-1 annex B."""
    digits = value.encode()
    return (sum(digits[::-2].translate(_PLAIN)) + sum(digits[-2::-2].translate(_DOUBLED))) % 10 == 0


def card(value: str) -> bool:
    """A length that the issuer's range uses, and the Luhn sum."""
    return len(value) in _card_lengths(value) and len(set(value)) > 1 and luhn(value)


def _card_lengths(value: str) -> tuple[int, ...]:
    for first, last, lengths in _ISSUERS:
        if first <= value[: len(first)] <= last:
            return lengths
    return ()


def ssn(value: str) -> bool:
    """Areas, groups and serials that the US administration gives out."""
    return (
        value[:3] not in ("000", "666")
        and value[0] != "9"
        and value[3:5] != "00"
        and value[5:] != "0000"
        and len(set(value)) > 1
    )


def itin(value: str) -> bool:
    group = int(value[3:5])
    return value[0] == "9" and group in _ITIN_GROUPS


def aba(value: str) -> bool:
    """US bank routing number."""
    return (
        value[:2] <= "12" or "21" <= value[:2] <= "32" or "61" <= value[:2] <= "72" or value[:2] == "80"
    ) and (len(set(value)) > 1 and _weighted(value, (3, 7, 1, 3, 7, 1, 3, 7, 1)) % 10 == 0)


def npi(value: str) -> bool:
    """US provider identifier: Luhn with the prefix 80840."""
    return value[0] in "12" and luhn("80840" + value)


def dea(value: str) -> bool:
    """US drug enforcement registration: two letters, six digits, check digit."""
    digits = value[2:]
    odd = sum(int(char) for char in digits[0:6:2])
    even = sum(int(char) for char in digits[1:6:2])
    return (odd + 2 * even) % 10 == int(digits[6])


def nhs(value: str) -> bool:
    """UK: modulo 11."""
    return len(set(value)) > 1 and _weighted(value, (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def medicare_au(value: str) -> bool:
    """Australia: first digit 2 to 6, check digit in ninth place."""
    return value[0] in "23456" and _weighted(value, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(value[8])


def tfn_au(value: str) -> bool:
    return _weighted(value, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0 and len(set(value)) > 1


def kvnr(value: str) -> bool:
    """Germany, health insurance: the letter counts as two digits."""
    letter = f"{ord(value[0]) - ord('A') + 1:02d}"
    products = map(mul, (1, 2) * 5, map(int, letter + value[1:9]))
    return sum(sum(divmod(product, 10)) for product in products) % 10 == int(value[9])


def pesel(value: str) -> bool:
    """Poland: the month carries the century."""
    century = (1900, 2000, 2100, 2200, 1800)[int(value[2:4]) // 20]
    return (
        _weighted(value, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0
        and _is_date(century + int(value[:2]), int(value[2:4]) % 20, int(value[4:6]))
    )  # fmt: skip


def fodselsnummer(value: str) -> bool:
    """Norway: birth date (day + 40 for a D number) and two check digits."""
    day = int(value[:2]) % 40
    return (
        _weighted(value, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0
        and _weighted(value, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0
        and _is_date(2000, int(value[2:4]) % 40, day)
    )


def turkish(value: str) -> bool:
    digits = [int(char) for char in value]
    tenth = (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10
    return digits[0] != 0 and tenth == digits[9] and sum(digits[:10]) % 10 == digits[10]


def personnummer(value: str) -> bool:
    """Sweden, ten digits: date (day + 60 for a coordination number) and Luhn."""
    return luhn(value) and _is_date(2000, int(value[2:4]), int(value[4:6]) % 60)


def cpr(value: str) -> bool:
    """Denmark gives out numbers without a check digit since 2007: the date is all there is."""
    return _is_date(2000, int(value[2:4]), int(value[:2]))


def aadhaar(value: str) -> bool:
    return value[0] not in "01" and value != value[::-1] and verhoeff.checksum(value) == 0


def thai(value: str) -> bool:
    check = (11 - _weighted(value[:12], tuple(range(13, 1, -1))) % 11) % 10
    return value[0] != "0" and check == int(value[12])


def singapore(value: str) -> bool:
    """NRIC and FIN: a letter for the weighted sum, shifted for those born or come after 2000."""
    total = _weighted(value[1:8], (2, 7, 6, 5, 4, 3, 2)) + {"T": 4, "G": 4, "M": 3}.get(value[0], 0)
    alphabet = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "M": "XWUTRQPNJLK"}.get(value[0], "XWUTRQPNMLK")
    return alphabet[total % 11] == value[8]


def hong_kong(value: str) -> bool:
    """Identity card: one or two letters, six digits, check character."""
    letters = value[:-7].rjust(2)
    codes = [36 if char == " " else ord(char) - 55 for char in letters]
    digits = [int(char) for char in value[-7:-1]]
    check = 10 if value[-1] == "A" else int(value[-1])
    total: int = sum(map(mul, range(9, 1, -1), codes + digits))
    return (total + check) % 11 == 0


def sin_ca(value: str) -> bool:
    return value[0] not in "08" and len(set(value)) > 1 and luhn(value)


def south_african_id(value: str) -> bool:
    return luhn(value) and _is_date(2000, int(value[2:4]), int(value[4:6])) and _south_african(value)


def _is_date(year: int, month: int, day: int) -> bool:
    """Of unknown centuries the leap year 2000 stands for all."""
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


_south_african = _knows(south_african)
belgian_number = _knows(belgian)
brazilian_cpf = _knows(cpf)
chinese_id = _knows(ric)
dutch_bsn = _knows(bsn)
finnish_hetu = _knows(hetu)
french_nir = _knows(nir)
german_tax_id = _knows(idnr)
irish_pps = _knows(pps)
israeli_id = _knows(israeli)
italian_code = _knows(codicefiscale)
korean_rrn = _knows(rrn)
mexican_curp = _knows(curp)
portuguese_nif = _knows(portuguese)
spanish_nie = _knows(nie)
spanish_nif = _knows(nif)
swiss_ahv = _knows(swiss)
