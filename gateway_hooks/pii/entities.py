"""The built-in entities: which detector finds which, and whose name an ambiguous value gets."""

from typing import NamedTuple

from gateway_hooks.contract.pii import ENTITIES
from gateway_hooks.pii import births, credentials, documents, network, numbers, phones
from gateway_hooks.pii.scan import Detector, Finds, Scan


class _Entry(NamedTuple):
    entities: frozenset[str]
    detector: Detector


_TABLE = (
    _Entry(numbers.NUMBER_ENTITIES, numbers.find_numbers),
    _Entry(documents.DOCUMENT_ENTITIES, documents.find_documents),
    _Entry(frozenset({phones.PHONE}), phones.find_phones),
    _Entry(frozenset({births.BIRTH}), births.find_births),
    _Entry(frozenset({"EMAIL_ADDRESS"}), network.find_emails),
    _Entry(frozenset({"IP_ADDRESS"}), network.find_ips),
    _Entry(frozenset({"MAC_ADDRESS"}), network.find_macs),
    _Entry(frozenset({"URL_CREDENTIALS"}), network.find_urls),
    _Entry(frozenset({"CRYPTO"}), network.find_wallets),
    _Entry(frozenset({"IBAN_CODE"}), network.find_ibans),
    _Entry(frozenset({"PASSPORT_MRZ"}), documents.find_mrz),
    _Entry(frozenset({"API_KEY"}), credentials.find_keys),
    _Entry(frozenset({"ACCESS_TOKEN"}), credentials.find_tokens),
    _Entry(frozenset({"PRIVATE_KEY"}), credentials.find_private_keys),
    _Entry(frozenset({"PASSWORD", "API_KEY"}), credentials.find_assigned),
)
_VAGUE = ("PHONE_NUMBER", "DATE_OF_BIRTH", "PASSWORD", "US_DRIVER_LICENSE", "US_BANK_NUMBER", "PASSPORT")
RANK = {
    name: place for place, name in enumerate(sorted(ENTITIES, key=lambda name: name in _VAGUE))
}  # fmt: skip
"""Of two names for exactly the same value the smaller rank wins: what a check digit told before what a word
told.
"""


def find_builtin(scan: Scan) -> Finds:
    """All spans of the entities that the scan wants, and None now and then."""
    for entities, detector in _TABLE:
        if entities & scan.wanted:
            yield from detector(scan)
            yield None
