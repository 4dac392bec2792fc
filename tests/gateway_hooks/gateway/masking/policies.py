"""Policies, and what they find."""

from typing import Any

from gateway_hooks.contract.pii import DenyList, PiiPolicy
from gateway_hooks.gateway.masking.mask import Mask
from gateway_hooks.pii.masker import Masker
from gateway_hooks.pii.policy import CompiledPolicy, compile_policy

KEY = b"k" * 32
EMAIL = "anna.quist@example.org"
CARD = "4111 1111 1111 1111"
QUOTED = 'Ann "the\\Boss" O\'Neil'
"""A value with what JSON escapes."""
WORDS = DenyList(name="CODENAME", words=(QUOTED, "bluebird"), action="mask")


def policy(**changes: Any) -> PiiPolicy:
    entities = {"EMAIL_ADDRESS": "mask", "CREDIT_CARD": "mask", "IBAN_CODE": "block"}
    return PiiPolicy(**{"entities": entities, "deny_lists": (WORDS,), **changes})


COMPILED = compile_policy(policy())
OWN = compile_policy(policy(completions=True))


def masker(compiled: CompiledPolicy = COMPILED) -> Masker:
    return Masker(compiled, KEY)


def mask_of(*texts: str, own: bool = False) -> tuple[Mask, list[str]]:
    """The mask of a request with these texts, and the texts as the model saw them."""
    made = masker()
    masked = made.mask_texts(texts)
    return Mask(made.mapping, made.counts, (OWN, KEY) if own else None), masked


def placeholder_of(text: str) -> tuple[Mask, str]:
    mask, (masked,) = mask_of(text)
    return mask, masked
