"""Each entity: what is found, and what looks like it and is left alone."""

import time

import pytest

from gateway_hooks.contract.pii import PiiPolicy
from gateway_hooks.pii.detect import detect
from gateway_hooks.pii.policy import compile_policy
from tests.bench.pii_figures import ADVERSARIAL, LONG
from tests.gateway_hooks.pii.world import EVERYTHING, PATTERN_ENTITIES

FOUND = [
    # (entity, text with the value between « and »)
    ("CREDIT_CARD", "card «4111 1111 1111 1111»,"),
    ("CREDIT_CARD", "«4111-1111-1111-1111»"),
    ("CREDIT_CARD", "pay with «4111111111111111»."),
    ("CREDIT_CARD", "amex «3782 822463 10005»"),
    ("CREDIT_CARD", "«3056 930902 5904»"),
    ("CREDIT_CARD", "«4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1»"),
    ("CREDIT_CARD", "«41 11 11 11 11 11 11 11»"),
    ("CREDIT_CARD", "row 17 «4111 1111 1111 1111» 23"),
    ("CREDIT_CARD", "csv,«4111111111111111»,12/26"),
    ("CREDIT_CARD", "card_«5555555555554444»_x"),
    ("CREDIT_CARD", "«4111\u20131111\u20131111\u20131111»"),
    ("CREDIT_CARD", "«4111\u00a01111\u00a01111\u00a01111»"),
    (
        "CREDIT_CARD",
        "«\uff14\uff11\uff11\uff11 1111 1111 111\uff11»",
    ),
    ("CREDIT_CARD", "«4111\u200b1111\u200b1111\u200b1111»"),
    ("IBAN_CODE", "«GB82 WEST 1234 5698 7654 32» IS MINE"),
    ("IBAN_CODE", "«DE89370400440532013000»"),
    ("IBAN_CODE", "«gb82 west 1234 5698 7654 32»"),
    ("IBAN_CODE", "«FR14 2004 1010 0505 0001 3M02 606»"),
    ("CRYPTO", "send to «1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa»"),
    ("CRYPTO", "«3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy»"),
    ("CRYPTO", "«bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq»"),
    ("CRYPTO", "«0x742d35Cc6634C0532925a3b844Bc454e4438f44e»"),
    ("EMAIL_ADDRESS", "Write to «bob@example.com»."),
    ("EMAIL_ADDRESS", "<«Bob.O'Neil+x@mail.example.co.uk»>"),
    ("EMAIL_ADDRESS", "email=«bob@example.com»&x=1"),
    ("EMAIL_ADDRESS", "邮箱«zhang@example.com»电话"),
    ("EMAIL_ADDRESS", "«josé@exämple.de»"),
    ("EMAIL_ADDRESS", "'«bob@example.com»'"),
    ("PHONE_NUMBER", "«+1 212 555 1234»"),
    ("PHONE_NUMBER", "«+1-555-123-4567 x123»"),
    ("PHONE_NUMBER", "«(212) 555-1234»"),
    ("PHONE_NUMBER", "«212.555.1234»"),
    ("PHONE_NUMBER", "«+44 (0)20 7946 0958»"),
    ("PHONE_NUMBER", "«020 7946 0958»"),
    ("PHONE_NUMBER", "«06 12 34 56 78»"),
    ("PHONE_NUMBER", "«0049 30 123456»"),
    ("PHONE_NUMBER", "«(030) 123456»"),
    ("PHONE_NUMBER", "call me at «5551234567»"),
    ("PHONE_NUMBER", "«+91 98765 43210»"),
    ("PHONE_NUMBER", "«+1 212 555 1234» 5 items"),
    ("PHONE_NUMBER", "«001-234-567-8901x123»"),
    ("PHONE_NUMBER", "«(11) 91234-5678»"),
    ("IP_ADDRESS", "from «192.168.1.1»:80"),
    ("IP_ADDRESS", "«10.0.0.1»/8 and more."),
    ("IP_ADDRESS", "«1.1.1.1» «8.8.8.8»"),
    ("IP_ADDRESS", "[«2001:db8::1»]:443"),
    ("IP_ADDRESS", "«::ffff:192.168.1.1»"),
    ("IP_ADDRESS", "«fe80::1ff:fe23:4567:890a»%eth0"),
    ("MAC_ADDRESS", "«00:1A:2B:3C:4D:5E»"),
    ("MAC_ADDRESS", "«00-1A-2B-3C-4D-5E»"),
    ("MAC_ADDRESS", "«001a.2b3c.4d5e»"),
    ("DATE_OF_BIRTH", "born «12/03/1990»"),
    ("DATE_OF_BIRTH", "DOB: «1990-03-12»"),
    ("DATE_OF_BIRTH", "Born on «March 12, 1990»."),
    ("DATE_OF_BIRTH", "geboren am «12.03.1990»"),
    ("DATE_OF_BIRTH", "née le «12 mars 1990»"),
    ("DATE_OF_BIRTH", "«12/03/1990» (DOB)"),
    ("DATE_OF_BIRTH", '"dateOfBirth": "«1990-03-12»"'),
    ("PASSPORT", "passport no: «12AB34567»"),
    ("US_PASSPORT", "passport «A12345678»"),
    ("DE_PASSPORT", "Reisepass «C01X00T47»"),
    (
        "PASSPORT_MRZ",
        "«P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10»",
    ),
    ("URL_CREDENTIALS", "see «postgres://ann:p@ss@db.example.com/x»)."),
    ("API_KEY", "«AKIAIOSFODNN7EXAMPLE»"),
    ("API_KEY", "«ghp_1234567890abcdefghijABCDEFGHIJ123456»"),
    ("API_KEY", "«sk-tn-0123456789ab-0123456789abcdef0123456789abcdef0123456789abcdef»"),
    ("API_KEY", "«xoxb-123456789012-abcdefghij»"),
    ("API_KEY", "aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»"),
    ("API_KEY", "api_key: '«abcd1234efgh5678»'"),
    ("ACCESS_TOKEN", "«eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P»"),
    ("ACCESS_TOKEN", "Authorization: Bearer «abcdef1234567890xyz»"),
    ("PRIVATE_KEY", "«-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\n-----END RSA PRIVATE KEY-----»\n"),
    ("PASSWORD", "password: «hunter2»"),
    ("PASSWORD", "the password is «hunter2»."),
    ("PASSWORD", '{"password": "«correct horse battery»"}'),
    ("US_SSN", "ssn «123-45-6789»"),
    ("US_SSN", "my SSN is «123456789»"),
    ("US_ITIN", "«912-70-1234»"),
    ("ABA_ROUTING_NUMBER", "routing number «021000021»"),
    ("US_BANK_NUMBER", "account number «12345678901»"),
    ("US_NPI", "NPI «1234567893»"),
    ("US_MBI", "«1EG4-TE5-MK73»"),
    ("US_DRIVER_LICENSE", "driver's license «D1234567»"),
    ("MEDICAL_LICENSE", "DEA «AB1234563»"),
    ("UK_NHS", "«943 476 5919»"),
    ("UK_NHS", "NHS number 9434765919".replace("9434765919", "«9434765919»")),
    ("UK_NINO", "«AB 12 34 56 C»"),
    ("AU_MEDICARE", "«2123 45670 1»"),
    ("AU_TFN", "TFN «123 456 782»"),
    ("BE_NATIONAL_NUMBER", "«85.07.30-033.28»"),
    ("BR_CPF", "«390.533.447-05»"),
    ("CA_SIN", "«130 692 544»"),
    ("CH_AHV", "«756.9217.0769.85»"),
    ("CN_RESIDENT_ID", "«11010519491231002X»"),
    ("DE_HEALTH_INSURANCE", "«A123456780»"),
    ("DE_TAX_ID", "Steuer-ID «36574261809»"),
    ("ES_NIE", "«X1234567L»"),
    ("ES_NIF", "«12345678-Z»"),
    ("FI_PERSONAL_IDENTITY_CODE", "«131052-308T»"),
    ("FR_NIR", "«2 95 10 99 126 111 93»"),
    ("HK_ID", "«A123456(3)»"),
    ("IE_PPS", "«6433435F»"),
    ("IL_ID", "Israeli ID «039337423»"),
    ("IN_AADHAAR", "«2341 2341 2346»"),
    ("IN_PAN", "«ABCPE1234F»"),
    ("IT_FISCAL_CODE", "«RCCMNL83S18D969H»"),
    ("KR_RRN", "«971013-9019902»"),
    ("MX_CURP", "«BOXW310820HNERXN09»"),
    ("NL_BSN", "BSN «111222333»"),
    ("NO_FODSELSNUMMER", "«15108695088»"),
    ("PL_PESEL", "«44051401359»"),
    ("PT_NIF", "NIF «501964843»"),
    ("SE_PERSONNUMMER", "«811218-9876»"),
    ("SG_NRIC_FIN", "«S1234567D»"),
    ("TH_TNIN", "«1-1017-00230-70-8»"),
    ("TR_NATIONAL_ID", "«10000000146»"),
    ("ZA_ID_NUMBER", "«8001015009087»"),
    ("DK_CPR", "CPR «211062-5629»"),
    ("UK_PASSPORT", "UK passport «925665416»"),
]
LEFT_ALONE = [
    "First pass: identify them", "may_pass = passed", "password=smtp_password",
    "a **verified token is remembered**",
    "password: Final[str]", "api_key=results[1]", "the password is *wrong*",
    "4111 1111 1111 1112", "order 4111111111111112", "1699999999999999", "1.2.3.4.5", "version 1.2.3.4",
    "v1.2.3.4",
    "256.1.1.1", "999.1.2.3", "2024-01-02 10:11:12", "2024-01-02T10:11:12.123456Z", "1699999999",
    "1699999999999",
    "550e8400-e29b-41d4-a716-446655440000",
    "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
    "d41d8cd98f00b204e9800998ecf8427e", "$1,234,567.89", "978-3-16-148410-0", "ISBN 9783161484100",
    "0-306-40615-2",
    "image@2x.png", "user@localhost", "@mention and a@b", "x[::2]", "std::string", "12:34:56",
    "000-12-3456", "666-12-3456",
    "123-00-6789", "123-45-0000", "GB83WEST12345698765432", "DE89 3704 0044 0532 0130 01",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp",
    "http://example.com/a:b@c",
    "https://example.com/path?x=1", "ab:cd:ef:01:23:45:67:89:aa:bb:cc", "ff:ff:ff:ff:ff:ff",
    "meeting on 12/03/1990",
    "DOB 31/02/1990", "943 476 5918", "AB1234564", "QQ123456C", "12345678A", "X1234567M", "10000000147",
    "44051401358",
    "order 212-555-1234", "invoice number 123456789", "10 000 000", "3.14159265358979",
    "sk-learn-is-a-nice-package",
    "password is required", "password: ********", "password: str", "token: string", "max_tokens=1000",
    "passport office",
    "C++ 11 14 17 20 23", "1-800 numbers", "page 123 of 4567", "room 1234", "2 x 4 x 8", "50% of 1000000000",
    "RCCMNL83S18D969I", "2341 2341 2347", "1EG4-TE5-MK7", "0x742d35", "tracking 1Z999AA10123456784",
    "a::b", "dead::beef",
]  # fmt: skip


@pytest.mark.parametrize(("entity", "marked"), FOUND)
def test_a_value_is_found_where_it_stands(entity, marked):
    text = marked.replace("«", "").replace("»", "")
    expected, gone = [], 0
    for place, char in enumerate(marked):
        if char == "«":
            expected.append(place - gone)
        if char == "»":
            expected[-1] = (expected[-1], place - gone)
        gone += char in "«»"

    spans = detect(text, EVERYTHING)

    assert [(span.start, span.end) for span in spans] == expected
    assert {span.entity for span in spans} <= {entity, "US_PASSPORT"}


def test_every_entity_of_the_pattern_tier_has_an_example():
    assert {entity for entity, _ in FOUND} == set(PATTERN_ENTITIES)


@pytest.mark.parametrize(("entity", "marked"), FOUND)
def test_an_entity_is_found_when_it_is_the_only_one_asked_for(entity, marked):
    text = marked.replace("«", "").replace("»", "")
    compiled = compile_policy(PiiPolicy(entities={entity: "mask"}))

    assert {span.entity for span in detect(text, compiled)} == {entity}


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_a_look_alike_is_left_alone(text):
    assert detect(text, EVERYTHING) == []


@pytest.mark.parametrize("entity", PATTERN_ENTITIES)
def test_an_entity_that_is_not_named_is_not_looked_for(entity):
    others = compile_policy(PiiPolicy(entities={entity: "allow"}))

    assert all(detect(text.replace("«", "").replace("»", ""), others) == [] for _, text in FOUND)


def test_overlapping_values_become_one_and_nothing_of_either_is_left():
    text = "password: bob@example.com!x"

    (span,) = detect(text, EVERYTHING)

    assert text[span.start : span.end] == "bob@example.com!x"
    assert span.entity == "PASSWORD"


def test_nothing_is_found_inside_a_placeholder():
    assert detect("<PASSWORD_bcdfghjkmn> password: <PASSWORD_bcdfghjkmn>", EVERYTHING) == []


@pytest.mark.parametrize("unit", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_a_hostile_text_of_100_kb_takes_no_longer_than_a_second(unit):
    text = unit * (LONG // len(unit))
    begin = time.process_time()

    detect(text, EVERYTHING)

    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    "unit",
    [
        "bob@a.cc ",
        "4111 1111 1111 1111 ",
        "+1 212 555 1234 ",
        "ssn 123456789 ",
        "1.1.1.1 ",
        "password: a1b2c3 ",
    ],
)
def test_a_hundred_kb_of_values_take_no_longer_than_two_seconds(unit):
    text = unit * (LONG // len(unit))
    begin = time.process_time()

    spans = detect(text, EVERYTHING)

    assert time.process_time() - begin < 2
    assert spans
