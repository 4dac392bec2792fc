"""Numbers told by how their digits are grouped, then by their check digits.

One pass finds the groups; a trie over group lengths finds every window that has the shape of some entity. So
a value is found wherever it starts in a row of numbers, and a row that has no such shape costs one look per
group.
"""

import functools
import re
from collections.abc import Callable, Iterator
from enum import Enum, auto

from gateway_hooks.pii import checks
from gateway_hooks.pii.scan import PULSE, Finds, Scan, ends_clean, starts_clean
from gateway_hooks.pii.spans import Span


class Need(Enum):
    """What must be known beside the check digits."""

    NOTHING = auto()
    NO_CONTRARY = auto()
    CONTEXT = auto()


def _any(_: str) -> bool:
    return True


_FORMS: tuple[tuple[str, str, Callable[[str], bool], Need], ...] = (
    # Digits per group; "_" is a space, "~" a space or a hyphen, the same throughout.
    (
        "CREDIT_CARD",
        "13 14 15 16 17 18 19 4~4~4~4 4~6~5 4~6~4 4~4~4~4~3 4~4~4~3 4~4~5 4~4~4~2 8~8 4~12 6~10 "
        "4~4~8 4.4.4.4",
        checks.card,
        Need.NOTHING,
    ),
    ("US_SSN", "3-2-4", checks.ssn, Need.NOTHING),
    ("US_SSN", "3_2_4 3.2.4", checks.ssn, Need.NO_CONTRARY),
    ("US_SSN", "9 5-4", checks.ssn, Need.CONTEXT),
    ("US_ITIN", "3~2~4", checks.itin, Need.NOTHING),
    ("US_ITIN", "9", checks.itin, Need.CONTEXT),
    ("ABA_ROUTING_NUMBER", "9 4-4-1", checks.aba, Need.CONTEXT),
    ("US_BANK_NUMBER", "8 9 10 11 12 13 14 15 16 17", _any, Need.CONTEXT),
    ("US_DRIVER_LICENSE", "7 8 9 10 12", _any, Need.CONTEXT),
    ("US_NPI", "10", checks.npi, Need.CONTEXT),
    ("US_PASSPORT", "9", _any, Need.CONTEXT),
    ("UK_PASSPORT", "9", _any, Need.CONTEXT),
    ("PASSPORT", "7 8", _any, Need.CONTEXT),
    ("UK_NHS", "3_3_4", checks.nhs, Need.NO_CONTRARY),
    ("UK_NHS", "10 3-3-4", checks.nhs, Need.CONTEXT),
    ("AU_MEDICARE", "4~5~1 4~5~1~1 4_5_1/1 4_5_1-1", checks.medicare_au, Need.NO_CONTRARY),
    ("AU_MEDICARE", "10 11", checks.medicare_au, Need.CONTEXT),
    ("AU_TFN", "9 3~3~3", checks.tfn_au, Need.CONTEXT),
    ("BE_NATIONAL_NUMBER", "2.2.2-3.2", checks.belgian_number, Need.NOTHING),
    ("BE_NATIONAL_NUMBER", "11 6-3.2 6-3-2", checks.belgian_number, Need.CONTEXT),
    ("BR_CPF", "3.3.3-2", checks.brazilian_cpf, Need.NOTHING),
    ("BR_CPF", "11 9-2", checks.brazilian_cpf, Need.CONTEXT),
    ("CA_SIN", "3~3~3", checks.sin_ca, Need.NO_CONTRARY),
    ("CA_SIN", "9 3~3~3", checks.luhn, Need.CONTEXT),
    ("CH_AHV", "13 3.4.4.2", checks.swiss_ahv, Need.NOTHING),
    ("CN_RESIDENT_ID", "18", checks.chinese_id, Need.NOTHING),
    ("DE_TAX_ID", "2_3_3_3", checks.german_tax_id, Need.NO_CONTRARY),
    ("DE_TAX_ID", "11", checks.german_tax_id, Need.CONTEXT),
    ("DK_CPR", "6-4 10", checks.cpr, Need.CONTEXT),
    ("FR_NIR", "15 1_2_2_2_3_3_2", checks.french_nir, Need.NOTHING),
    ("IL_ID", "9", checks.israeli_id, Need.CONTEXT),
    ("IN_AADHAAR", "4~4~4", checks.aadhaar, Need.NO_CONTRARY),
    ("IN_AADHAAR", "12", checks.aadhaar, Need.CONTEXT),
    ("KR_RRN", "6-7", checks.korean_rrn, Need.NO_CONTRARY),
    ("NL_BSN", "9 4.2.3 3.3.3", checks.dutch_bsn, Need.CONTEXT),
    ("NO_FODSELSNUMMER", "11 6_5", checks.fodselsnummer, Need.NO_CONTRARY),
    ("PL_PESEL", "11", checks.pesel, Need.NO_CONTRARY),
    ("PT_NIF", "9 3_3_3", checks.portuguese_nif, Need.CONTEXT),
    ("SE_PERSONNUMMER", "6-4", checks.personnummer, Need.NO_CONTRARY),
    ("SE_PERSONNUMMER", "8-4", lambda value: checks.personnummer(value[2:]), Need.NO_CONTRARY),
    ("SE_PERSONNUMMER", "10", checks.personnummer, Need.CONTEXT),
    ("SE_PERSONNUMMER", "12", lambda value: checks.personnummer(value[2:]), Need.CONTEXT),
    ("TH_TNIN", "1~4~5~2~1", checks.thai, Need.NO_CONTRARY),
    ("TH_TNIN", "13", checks.thai, Need.CONTEXT),
    ("TR_NATIONAL_ID", "11", checks.turkish, Need.NO_CONTRARY),
    ("ZA_ID_NUMBER", "13 6_4_2_1 6_4_3", checks.south_african_id, Need.NO_CONTRARY),
)  # fmt: skip
NUMBER_ENTITIES = frozenset(form[0] for form in _FORMS)


class _Rules:
    """What a shape may be: ``free`` by its digits, ``bound`` only beside a word that says so."""

    __slots__ = ("bound", "free")

    def __init__(self) -> None:
        self.free: list[tuple[str, Callable[[str], bool], Need]] = []
        self.bound: dict[str, Callable[[str], bool]] = {}

    def add(self, entity: str, check: Callable[[str], bool], need: Need) -> None:
        if need is Need.CONTEXT:
            self.bound[entity] = check
        else:
            self.free.append((entity, check, need))


class _Node:
    """``rules`` by the separators that lead here; ``next`` by the length of the group that follows."""

    __slots__ = ("next", "rules")

    def __init__(self) -> None:
        self.next: dict[int, _Node] = {}
        self.rules: dict[str, _Rules] = {}


def _separators(form: str) -> Iterator[str]:
    plain = re.sub(r"\d", "", form).replace("_", " ")
    yield from (plain.replace("~", " "), plain.replace("~", "-")) if "~" in plain else (plain,)


@functools.lru_cache(maxsize=256)
def _trie(wanted: frozenset[str]) -> _Node:
    root = _Node()
    for entity, forms, check, need in _FORMS:
        for form in forms.split() if entity in wanted else ():
            node = root
            for length in re.findall(r"\d+", form):
                node = node.next.setdefault(int(length), _Node())
            for separators in _separators(form):
                node.rules.setdefault(separators, _Rules()).add(entity, check, need)
    return root


_Fitting = list[tuple[str, Need]]
_GROUP = re.compile(rb"[0-9]+")
_GAPS = {b" ": " ", b"-": "-", b".": ".", b"/": "/", b"  ": " ", b" - ": "-", b"--": "-"}
_CARD_DIGITS = range(13, 20)
_GIANT = 19
_MANY = 1_024


def find_numbers(scan: Scan) -> Finds:
    """Values of ``NUMBER_ENTITIES``."""
    groups: list[tuple[int, int]] = []
    gaps: list[str | None] = []
    yield from _group(scan.data, groups, gaps)
    if not groups:
        return
    yield from scan.read_contexts()
    row = Row(scan, groups, gaps)
    beginnings = _trie(scan.wanted).next
    for first, (start, end) in enumerate(groups):
        if first % PULSE == 0:
            yield None
        node = beginnings.get(end - start)
        if node is None or (gaps[first] is None and not node.rules):
            continue
        if end - start == 1 and row.amid_singles(first):
            continue
        if scan.data[start - 1 : start] == b" " or starts_clean(scan.data, start):
            yield from row.windows(first, node)
    if "CREDIT_CARD" in scan.wanted:
        yield from row.odd_cards()


def _group(data: bytes, groups: list[tuple[int, int]], gaps: list[str | None]) -> Iterator[None]:
    """Fills both, with pauses; ``gaps`` as in ``Row``."""
    for number, match in enumerate(_GROUP.finditer(data)):
        if number % _MANY == _MANY - 1:
            yield None
        if groups:
            gaps.append(_GAPS.get(data[groups[-1][1] : match.start()]))
        groups.append(match.span())
    gaps.append(None)


class Row:
    """All digit groups of one text; ``gaps[n]`` joins group n to the next, None where they are strangers."""

    __slots__ = ("_fitting", "_gaps", "_groups", "_scan", "_silent")

    def __init__(self, scan: Scan, groups: list[tuple[int, int]], gaps: list[str | None]) -> None:
        self._scan, self._groups, self._gaps = scan, groups, gaps
        self._silent = scan.contexts.silent
        self._fitting: dict[bytes, _Fitting] = {}

    def amid_singles(self, first: int) -> bool:
        """Only the first of a row of single digits may begin a value; a long row is walked once."""
        if not first or self._gaps[first - 1] is None:
            return False
        start, end = self._groups[first - 1]
        return end - start == 1

    def windows(self, first: int, node: _Node) -> list[Span]:
        """All values that begin with group ``first``; a list, since most have none."""
        data, groups, gaps = self._scan.data, self._groups, self._gaps
        separators, last = "", first
        begin, silent, known = groups[first][0], self._silent, self._fitting
        found: list[Span] = []
        while True:
            rules = node.rules.get(separators)
            if rules is not None:
                end = groups[last][1]
                fitting = known.get(data[begin:end])
                if fitting is None:
                    fitting = self._fit(rules, first, last)
                if (fitting or (rules.bound and not silent)) and ends_clean(data, end):
                    found += self._judge(rules, fitting, first, last)
            gap = gaps[last]
            if gap is None:
                return found
            last += 1
            start, end = groups[last]
            following = node.next.get(end - start)
            if following is None:
                return found
            separators, node = separators + gap, following

    def _fit(self, rules: _Rules, first: int, last: int) -> _Fitting:
        """What the digits alone may be; kept for values that stand there more than once."""
        digits = self._digits(first, last)
        fitting = [(entity, need) for entity, check, need in rules.free if check(digits)]
        self._fitting[self._scan.data[self._groups[first][0] : self._groups[last][1]]] = fitting
        return fitting

    def _judge(self, rules: _Rules, fitting: _Fitting, first: int, last: int) -> list[Span]:
        start, end = self._groups[first][0], self._groups[last][1]
        contexts = self._scan.contexts
        found = [
            Span(start, end, entity)
            for entity, need in fitting
            if need is Need.NOTHING or not contexts.near(start, end).contrary
        ]
        if rules.bound and not contexts.silent:
            named = rules.bound.keys() & contexts.near(start, end).entities
            digits = self._digits(first, last) if named else ""
            found += [Span(start, end, entity) for entity in named if rules.bound[entity](digits)]
        return found

    def _digits(self, first: int, last: int) -> str:
        data = self._scan.data
        return b"".join(data[start:end] for start, end in self._groups[first : last + 1]).decode("ascii")

    def odd_cards(self) -> Iterator[Span]:
        """Cards in groups of any length, if the row holds nothing else."""
        first = 0
        for last, gap in enumerate(self._gaps):
            if gap is not None and gap in " -" and self._gaps[first] in (gap, None):
                continue
            if last > first:
                yield from self._odd_card(first, last)
            first = last + 1

    def _odd_card(self, first: int, last: int) -> Iterator[Span]:
        if last - first >= _GIANT:
            return
        start, end = self._groups[first][0], self._groups[last][1]
        if not (starts_clean(self._scan.data, start) and ends_clean(self._scan.data, end)):
            return
        digits = self._digits(first, last)
        if len(digits) in _CARD_DIGITS and checks.card(digits):
            yield Span(start, end, "CREDIT_CARD")
