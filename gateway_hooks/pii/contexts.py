"""Words near a number that say what it is, or that it is something else.

A number of which check digits alone tell too little counts only with such a word up to ``BEFORE``
characters before it or ``AFTER`` after it in the same sentence. A word like "order" nearer than ``CONTRARY``
takes that back.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

import re2

BEFORE, AFTER, CONTRARY = 60, 26, 24

_WORDS = {
    "DATE_OF_BIRTH": (
        "dob, d.o.b, date of birth, birth date, born, birthday, birth day, birth, bday, geboren, "
        "geburtsdatum, geb, geburtstag, née, né, née le, date de naissance, naissance, fecha de "
        "nacimiento, nacimiento, nacido, nacida, nato il, nata il, data di nascita, data de "
        "nascimento, geboortedatum, födelsedatum, data urodzenia"
    ),
    "PHONE_NUMBER": (
        "phone, phones, phone number, telephone, tel, mobile, cell, cellphone, fax, call, call me, "
        "called, whatsapp, sms, text me, dial, contact, hotline, ring, reach, telefon, "
        "telefonnummer, handy, mobil, handynummer, téléphone, portable, teléfono, telefono, móvil, "
        "cellulare, telefone, celular, phone no, ph, mob, landline, voicemail, pager, signal"
    ),
    "CREDIT_CARD": (
        "card, credit card, debit card, visa, mastercard, amex, cc, pan, cardnumber, card number, kreditkarte"
    ),
    "PASSPORT": (
        "passport, passports, passport number, passport no, reisepass, pass-nr, passnummer, "
        "passeport, pasaporte, passaporto, passaporte, paspoort, travel document, passport id"
    ),
    "US_DRIVER_LICENSE": (
        "driver license, drivers license, driver's license, driver licence, driving licence, "
        "driving license, drivers licence, driver's licence, dl, dl number, license number, driver "
        "lic"
    ),
    "US_BANK_NUMBER": (
        "account number, bank account, account no, account, acct, acct no, checking, savings "
        "account, bank number, iban, a/c"
    ),
    "ABA_ROUTING_NUMBER": ("routing, routing number, aba, rtn, routing no, bank routing, transit number"),
    "US_SSN": (
        "ssn, social security, social security number, ss number, ssns, soc sec, social, ssn "
        "number, tax payer"
    ),
    "US_ITIN": "itin, taxpayer, individual taxpayer, tax id",
    "US_NPI": "npi, national provider, provider number, provider id, provider",
    "UK_NHS": "nhs, nhs number, national health, nhs no, health number, patient, patient number",
    "AU_MEDICARE": "medicare, medicare number, medicare card",
    "AU_TFN": "tfn, tax file number, tax file",
    "BE_NATIONAL_NUMBER": (
        "rijksregister, rijksregisternummer, registre national, national number, insz, niss"
    ),
    "BR_CPF": "cpf, cadastro de pessoas",
    "CA_SIN": "sin, social insurance, social insurance number, sin number, sin no",
    "CH_AHV": "ahv, avs, ahv-nr, sozialversicherungsnummer",
    "DE_TAX_ID": (
        "steuer-id, steuer id, steueridentifikationsnummer, steuer-identifikationsnummer, idnr, "
        "steuernummer, tax id, tin, steuerid"
    ),
    "DE_HEALTH_INSURANCE": (
        "krankenversicherung, versichertennummer, kvnr, krankenkasse, gesundheitskarte, health insurance"
    ),
    "DK_CPR": "cpr, cpr-nummer, personnummer, cpr number, cpr nr, cpr-nr",
    "IE_PPS": "pps, ppsn, pps number, personal public service",
    "IL_ID": "teudat zehut, israeli id, id number, identity number",
    "IN_AADHAAR": "aadhaar, aadhar, uidai, uid, adhaar",
    "NL_BSN": "bsn, burgerservicenummer, citizen service number, sofinummer",
    "NO_FODSELSNUMMER": "fødselsnummer, fodselsnummer, personnummer, fnr",
    "PL_PESEL": "pesel",
    "PT_NIF": "nif, contribuinte, número de contribuinte, tax number",
    "SE_PERSONNUMMER": "personnummer, personal identity number, samordningsnummer",
    "TH_TNIN": "thai id, national id, citizen id, tnin",
    "TR_NATIONAL_ID": "tc kimlik, kimlik, tckn, t.c. kimlik no",
    "ZA_ID_NUMBER": "id number, identity number, said, south african id, rsa id",
    "MAC_ADDRESS": "mac, mac address, hardware address, bssid, ethernet",
    "IP_ADDRESS": "ip, ip address, ipv4, ipv6, server, host, address, client, ping",
    "MEDICAL_LICENSE": "dea, dea number, dea no, medical license, medical licence, prescriber",
    "CONTRARY": (
        "order, orders, order number, order no, order id, invoice, invoice number, tracking, "
        "tracking number, ticket, ticket number, sku, part, part number, version, versions, "
        "release, build, firmware, isbn, isbn-13, isbn-10, issn, ean, upc, gtin, doi, model, "
        "serial, serial number, s/n, case, case number, po number, batch, item, item number, "
        "timestamp, epoch, unix time, commit, sha, hash, checksum, price, qty, quantity, room, "
        "page, section, chapter, figure, rfc, revision, changelog, upgrade, upgraded, ref, "
        "reference, reference number, transaction id, txn, session, bestellnummer, rechnung, "
        "artikel, artikelnummer, rechnungsnummer, commande, facture, pedido, factura, v, ver, rev, "
        "product, lot, shipment, parcel, receipt, meter, counter, total, sum, amount"
    ),
}
_IMPLIED = {
    "PASSPORT": ("PASSPORT", "US_PASSPORT", "UK_PASSPORT", "DE_PASSPORT"),
    "PHONE_NUMBER": ("PHONE_NUMBER",),
}
CONTRARY_NAME = "CONTRARY"
_NOTHING: frozenset[str] = frozenset()
_PAUSE = 256
_BLANKS = b" _-.'/\t\n"


def _key(word: bytes) -> bytes:
    return word.lower().translate(None, _BLANKS)


def _table() -> dict[bytes, frozenset[str]]:
    table: dict[bytes, set[str]] = {}
    for entity, words in _WORDS.items():
        for word in words.split(", "):
            table.setdefault(_key(word.encode("latin-1")), set()).update(_IMPLIED.get(entity, (entity,)))
    return {word: frozenset(entities) for word, entities in table.items()}


_TABLE = _table()
"""Words without their blanks -> entities that they speak for."""


def _alternative(word: str) -> str:
    parts = [re.escape(part) for part in word.replace("-", " ").replace(".", " ").replace("/", " ").split()]
    return r"[ _\-./]{0,2}".join(parts)


def _pattern() -> bytes:
    """The longest words first, since the first that fits wins; camelCase and snake_case count as borders."""
    words = sorted({word for group in _WORDS.values() for word in group.split(", ")}, key=len, reverse=True)
    alternatives = "|".join(dict.fromkeys(_alternative(word) for word in words))
    return rf"(?i)(?:\b|_)(?:{alternatives})(?:\b|_)".encode("latin-1")


def _compiled() -> "re2._Regexp":
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    return re2.compile(_pattern(), options)


_REGEX = _compiled()


class Nearby(NamedTuple):
    """What the words around a number speak for; ``contrary``: the nearest one before says it is something
    else.
    """

    entities: frozenset[str]
    contrary: bool


_SILENCE = Nearby(_NOTHING, contrary=False)


class Contexts:
    """The words of one text, found once."""

    __slots__ = ("_data", "_hits", "_starts", "silent")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._hits: list[tuple[int, int, frozenset[str]]] = []
        self._starts: list[int] = []
        self.silent = True

    def read(self) -> Iterator[None]:
        """Finds the words; to be exhausted before ``near``. With pauses."""
        data = self._data
        for number, match in enumerate(_REGEX.finditer(data)):
            if number % _PAUSE == _PAUSE - 1:
                yield None
            start, end = match.span()
            self._hits.append((start, end, _TABLE.get(_key(data[start:end]), _NOTHING)))
            self._starts.append(start)
        self.silent = not self._hits

    def near(self, start: int, end: int) -> Nearby:
        """``start`` and ``end`` of the number."""
        if self.silent:
            return _SILENCE
        place = bisect_left(self._starts, start)
        entities, contrary = self._before(place, start)
        return Nearby(entities | self._after(place, end), contrary)

    def _before(self, place: int, start: int) -> tuple[frozenset[str], bool]:
        found: frozenset[str] = _NOTHING
        for _, end, entities in reversed(self._hits[max(0, place - 4) : place]):
            if start - end > BEFORE or b"\0" in self._data[end:start]:
                break
            if CONTRARY_NAME in entities:
                return found, not found and start - end <= CONTRARY
            found |= entities
        return found, False

    def _after(self, place: int, end: int) -> frozenset[str]:
        found: frozenset[str] = _NOTHING
        for start, _, entities in self._hits[place : place + 2]:
            gap = self._data[end:start]
            if (
                start < end
                or start - end > AFTER
                or any(stop in gap for stop in (b"\0", b"\n", b". ", b", ", b";"))
            ):
                break
            found |= entities
        return found - {CONTRARY_NAME}
