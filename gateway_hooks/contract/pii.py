"""What a tenant wants done with personal data and secrets in its texts.

Names follow Presidio where it has one. What each entity looks like is the gateway's business.
"""

from typing import Literal

import msgspec

from gateway_hooks.contract.errors import ContractError

Action = Literal["mask", "block", "allow", "redact"]
"""``mask`` puts a placeholder and restores it in the answer, ``redact`` never restores,
``block`` refuses the request, ``allow`` does not look."""

NER_ENTITIES: tuple[str, ...] = ("PERSON", "LOCATION", "ORGANIZATION", "NRP")
"""Found by the deeper tier only (``PiiPolicy.ner``). NRP: nationality, religion, politics."""

_GENERAL = (
    "CREDIT_CARD",
    "IBAN_CODE",
    "CRYPTO",
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "DATE_OF_BIRTH",
    "PASSPORT",
    "PASSPORT_MRZ",
)
_SECRETS = ("URL_CREDENTIALS", "API_KEY", "ACCESS_TOKEN", "PRIVATE_KEY", "PASSWORD")
_UNITED_STATES = (
    "US_SSN",
    "US_ITIN",
    "US_PASSPORT",
    "US_DRIVER_LICENSE",
    "US_BANK_NUMBER",
    "ABA_ROUTING_NUMBER",
    "US_NPI",
    "US_MBI",
    "MEDICAL_LICENSE",
)
_OTHER_COUNTRIES = (
    "UK_NHS",
    "UK_NINO",
    "UK_PASSPORT",
    "AU_MEDICARE",
    "AU_TFN",
    "BE_NATIONAL_NUMBER",
    "BR_CPF",
    "CA_SIN",
    "CH_AHV",
    "CN_RESIDENT_ID",
    "DE_HEALTH_INSURANCE",
    "DE_PASSPORT",
    "DE_TAX_ID",
    "DK_CPR",
    "ES_NIE",
    "ES_NIF",
    "FI_PERSONAL_IDENTITY_CODE",
    "FR_NIR",
    "HK_ID",
    "IE_PPS",
    "IL_ID",
    "IN_AADHAAR",
    "IN_PAN",
    "IT_FISCAL_CODE",
    "KR_RRN",
    "MX_CURP",
    "NL_BSN",
    "NO_FODSELSNUMMER",
    "PL_PESEL",
    "PT_NIF",
    "SE_PERSONNUMMER",
    "SG_NRIC_FIN",
    "TH_TNIN",
    "TR_NATIONAL_ID",
    "ZA_ID_NUMBER",
)
ENTITIES: tuple[str, ...] = _GENERAL + _SECRETS + _UNITED_STATES + _OTHER_COUNTRIES + NER_ENTITIES
"""Every built-in entity."""


class PiiPolicyError(ContractError):
    """The policy cannot be put in force; the text says what to change, without any tenant's text."""

    code = "pii_policy_invalid"


class CustomPattern(msgspec.Struct, frozen=True, kw_only=True):
    """``pattern`` in RE2 syntax, so that it runs in linear time; ``name`` in UPPER_SNAKE."""

    name: str
    pattern: str
    action: Action


class DenyList(msgspec.Struct, frozen=True, kw_only=True):
    """Whole words or phrases, whatever their case; ``name`` in UPPER_SNAKE."""

    name: str
    words: tuple[str, ...]
    action: Action


class PiiPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """``entities``: name -> action; an entity that is not named is not looked for.

    ``completions``: what the model itself writes is masked too. ``ner``: the deeper tier, out of process.
    """

    entities: dict[str, Action]
    patterns: tuple[CustomPattern, ...] = ()
    deny_lists: tuple[DenyList, ...] = ()
    completions: bool = False
    ner: bool = False
