"""Check digits: one digit off is never right."""

import pytest

from gateway_hooks.pii import checks, checks_codes

RIGHT = [
    (checks.card, "4111111111111111"), (checks.card, "378282246310005"), (checks.card, "30569309025904"),
    (checks.card, "6011111111111117"), (checks.card, "3530111333300000"), (checks.card, "2223003122003222"),
    (checks.aba, "021000021"), (checks.npi, "1234567893"), (checks.nhs, "9434765919"),
    (checks.tfn_au, "123456782"),
    (checks.pesel, "44051401359"), (checks.fodselsnummer, "15108695088"), (checks.turkish, "10000000146"),
    (checks.personnummer, "8112189876"), (checks.aadhaar, "234123412346"), (checks.thai, "1101700230708"),
    (checks.sin_ca, "130692544"), (checks.south_african_id, "8001015009087"),
    (checks.belgian_number, "85073003328"),
    (checks.brazilian_cpf, "39053344705"), (checks.dutch_bsn, "111222333"),
    (checks.swiss_ahv, "7569217076985"),
]  # fmt: skip
WITH_LETTERS = [
    (checks.dea, "AB1234563"), (checks.kvnr, "A123456780"), (checks.singapore, "S1234567D"),
    (checks.singapore, "F1234567N"),
    (checks.hong_kong, "A1234563"), (checks.spanish_nif, "12345678Z"), (checks.spanish_nie, "X1234567L"),
    (checks.finnish_hetu, "131052-308T"), (checks.irish_pps, "6433435F"),
    (checks.italian_code, "RCCMNL83S18D969H"),
    (checks_codes.iban, "GB82WEST12345698765432"),
    (checks_codes.base58, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    (checks_codes.bech32, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    (checks_codes.bech32, "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"),
]  # fmt: skip
MRZ = (
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<L898902C36UTO7408122F1204159ZE184226B<<<<<10",
    "I<UTOD231458907<<<<<<<<<<<<<<<7408122F1204159UTO<<<<<<<<<<<6ERIKSSON<<ANNA<MARIA<<<<<<<<<<",
)


@pytest.mark.parametrize(("check", "value"), RIGHT)
def test_the_last_digit_decides(check, value):
    others = [value[:-1] + digit for digit in "0123456789" if digit != value[-1]]

    assert check(value)
    assert not any(map(check, others))


@pytest.mark.parametrize(("check", "value"), WITH_LETTERS)
def test_a_digit_off_is_wrong(check, value):
    place = next(place for place in range(len(value) - 2, 0, -1) if value[place].isdigit())
    wrong = value[:place] + ("2" if value[place] != "2" else "4") + value[place + 1 :]

    assert check(value)
    assert not check(wrong)


@pytest.mark.parametrize("zone", MRZ)
def test_a_machine_readable_zone_has_three_check_digits(zone):
    assert checks_codes.mrz(zone)
    assert not checks_codes.mrz(zone.replace("740812", "740813"))


def test_numbers_nobody_gives_out_are_wrong():
    assert not any(
        map(checks.ssn, ("000123456", "666123456", "900123456", "123004567", "123450000", "111111111"))
    )
    assert not checks.card("0000000000000000")
    assert not any(map(checks_codes.ipv4, ("256.1.1.1", "01.1.1.1", "1.1.1")))
    assert not any(map(checks_codes.ipv6, ("::", "1::2", "a::b", "12:34:56", "1:2:3:4:5:6:7:8:9")))
