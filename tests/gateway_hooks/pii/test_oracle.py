"""Whatever Presidio's recognisers are sure of, for entities that both know, is found here too."""

import random
import warnings

import pytest
from stdnum import iban, luhn

from gateway_hooks.pii.detect import detect
from tests.gateway_hooks.pii.world import EVERYTHING

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tldextract
    from presidio_analyzer import predefined_recognizers as presidio

SURE = 1.0
SURE_BY_FORM = {"IP_ADDRESS": 0.3, "SG_NRIC_FIN": 0.3, "MAC_ADDRESS": 0.3}
"""Where Presidio has no check digit to be sure by."""
ROUNDS = 300
RECOGNISERS = {
    "CREDIT_CARD": presidio.CreditCardRecognizer,
    "IBAN_CODE": presidio.IbanRecognizer,
    "CRYPTO": presidio.CryptoRecognizer,
    "EMAIL_ADDRESS": presidio.EmailRecognizer,
    "IP_ADDRESS": presidio.IpRecognizer,
    "MEDICAL_LICENSE": presidio.MedicalLicenseRecognizer,
    "UK_NHS": presidio.NhsRecognizer,
    "ES_NIF": presidio.EsNifRecognizer,
    "IT_FISCAL_CODE": presidio.ItFiscalCodeRecognizer,
    "PL_PESEL": presidio.PlPeselRecognizer,
    "SG_NRIC_FIN": presidio.SgFinRecognizer,
    "FI_PERSONAL_IDENTITY_CODE": presidio.FiPersonalIdentityCodeRecognizer,
    "IN_AADHAAR": presidio.InAadhaarRecognizer,
    "MAC_ADDRESS": presidio.MacAddressRecognizer,
}
WORDS = {"UK_NHS": "NHS number ", "IN_AADHAAR": "Aadhaar ", "IP_ADDRESS": "from ", "CREDIT_CARD": "card "}
EXAMPLES = {
    "CRYPTO": ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"],
    "MEDICAL_LICENSE": ["AB1234563", "BB1388568"],
    "ES_NIF": ["12345678Z", "54362315K"],
    "IT_FISCAL_CODE": ["RCCMNL83S18D969H"],
    "PL_PESEL": ["44051401359", "02070803628"],
    "SG_NRIC_FIN": ["S1234567D", "F1234567N"],
    "FI_PERSONAL_IDENTITY_CODE": ["131052-308T"],
    "IN_AADHAAR": ["234123412346", "2341 2341 2346"],
    "MAC_ADDRESS": ["00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e"],
    "UK_NHS": ["9434765919", "943 476 5919", "943-476-5919"],
}


def card(chance):
    prefix, length = chance.choice(
        [("4", 16), ("51", 16), ("55", 16), ("37", 15), ("34", 15), ("6011", 16), ("36", 14)]
    )
    body = prefix + "".join(chance.choices("0123456789", k=length - 1 - len(prefix)))
    digits = body + luhn.calc_check_digit(body)
    if length == 16:
        return chance.choice(["", " ", "-"]).join(digits[place : place + 4] for place in range(0, 16, 4))
    return digits


def account(chance):
    country, form = chance.choice(
        [("DE", "9" * 18), ("GB", "AAAA" + "9" * 14), ("NL", "AAAA" + "9" * 10), ("ES", "9" * 20)]
    )
    bban = "".join(chance.choice("ABCDEFGH") if char == "A" else chance.choice("0123456789") for char in form)
    number = country + iban.calc_check_digits(country + "00" + bban) + bban
    if chance.random() < 0.5:
        return number
    return " ".join(number[place : place + 4] for place in range(0, len(number), 4))


def address(chance):
    if chance.random() < 0.5:
        return ".".join(str(chance.randrange(256)) for _ in range(4))
    return ":".join(f"{chance.randrange(4096, 65536):x}" for _ in range(8))


def mailbox(chance):
    names = "".join(chance.choices("abcdefgh0123456789", k=5)) + chance.choice(["", ".b", "_c", "+d", "-e"])
    domain = chance.choice(["example", "mail.example", "a-b"])
    return f"{names}@{domain}.{chance.choice(['com', 'co.uk', 'de', 'org', 'io'])}"


MAKERS = {"CREDIT_CARD": card, "IBAN_CODE": account, "IP_ADDRESS": address, "EMAIL_ADDRESS": mailbox}


def made(entity, chance):
    if entity in MAKERS:
        return MAKERS[entity](chance)
    return chance.choice(EXAMPLES[entity])


@pytest.mark.parametrize("entity", RECOGNISERS)
def test_nothing_is_lost_that_presidio_is_sure_of(entity, monkeypatch):
    monkeypatch.setattr(tldextract, "extract", tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None))
    recogniser = RECOGNISERS[entity]()
    chance = random.Random(entity)  # noqa: S311 - examples, no secrets
    seen = 0
    for _ in range(ROUNDS):
        value = made(entity, chance)
        before = chance.choice(["Look: ", "see (", "", "a, b; "]) + WORDS.get(entity, "")
        text = before + value + chance.choice(["", ".", ", ok", ")"])

        least = SURE_BY_FORM.get(entity, SURE)
        sure = [found for found in recogniser.analyze(text, [entity], None) if found.score >= least]

        seen += len(sure)
        ours = detect(text, EVERYTHING)
        lost = [
            found
            for found in sure
            if text[found.start : found.end].strip()
            and not any(span.start <= found.start and found.end <= span.end for span in ours)
        ]
        assert lost == [], text
    assert seen
