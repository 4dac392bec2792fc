"""Policies, values and texts for the tests of this folder."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gateway_hooks.contract.pii import ENTITIES, NER_ENTITIES, PiiPolicy
from gateway_hooks.pii.policy import CompiledPolicy, compile_policy

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A loaded machine is no reason to fail an example."""
KEY = b"tenant one's key, 32 bytes long."
OTHER_KEY = b"tenant two's key, 32 bytes long."
PATTERN_ENTITIES = tuple(name for name in ENTITIES if name not in NER_ENTITIES)
EVERYTHING = compile_policy(PiiPolicy(entities=dict.fromkeys(ENTITIES, "mask")))

VALUES = (
    "bob@example.com", "ann.o'neil+x@mail.example.co.uk", "+1 212 555 0143", "(212) 555-0143",
    "020 7946 0958",
    "4111 1111 1111 1111", "378282246310005", "123-45-6789", "DE89 3704 0044 0532 0130 00",
    "GB82WEST12345698765432",
    "192.168.10.24", "2001:db8::8a2e:370:7334", "00:1A:2B:3C:4D:5E", "https://ann:hunter2@db.example.com/x",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "0x742d35Cc6634C0532925a3b844Bc454e4438f44e", "943 476 5919",
    "AB 12 34 56 C",
    "RCCMNL83S18D969H", "12345678Z", "529.982.247-25", "password: hunter2!", "born 12/03/1990",
    "AKIAIOSFODNN7EXAMPLE",
    "sk-tn-0123456789ab-0123456789abcdef0123456789abcdef0123456789abcdef", "passport: A12345678",
)  # fmt: skip
LOOK_ALIKES = (
    "<EMAIL_ADDRESS_bcdfghjkmn>", "<EMAIL_ADDRESS_1>", "<PERS", "<PERSON>", "<", ">", "<<",
    "<CREDIT_CARD_", "_bcdfghjkmn>",
    "<PHONE_NUMBER_bcdfghjkmnpqrstv>",
)  # fmt: skip
GLUE = (
    " ",
    ", ",
    "\n",
    "; ",
    " - ",
    ".",
    "x",
    " call ",
    " card ",
    "/",
    "1",
    "\u200b",
    "\u00a0",
    "é",
    "张",
    "\U0001f600",
    "\u2028",
)


def texts(max_pieces: int = 12) -> st.SearchStrategy[str]:
    """Values, look-alikes and glue in any order, and free text between them."""
    free = st.text(max_size=6) | st.text("0123456789-+@.:/<> abAB_", max_size=14)
    piece = st.sampled_from(VALUES) | st.sampled_from(LOOK_ALIKES) | st.sampled_from(GLUE) | free
    return st.lists(piece, max_size=max_pieces).map("".join)


def chunked(text: str, sizes: list[int]) -> list[str]:
    """``text`` in pieces of these lengths, in turn; the last piece is the rest."""
    chunks, place = [], 0
    for size in sizes:
        chunks.append(text[place : place + size])
        place += size
    return [*chunks, text[place:]]


def policy(**actions: str) -> CompiledPolicy:
    return compile_policy(PiiPolicy(entities=actions))
