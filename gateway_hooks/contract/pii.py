"""What a tenant wants done with personal data in its texts: which entities, and what happens to each."""

from typing import Literal

import msgspec

from gateway_hooks.contract.errors import ContractError

Action = Literal["mask", "block", "allow", "redact"]
"""``redact`` is a mask that is never restored."""


class PiiPolicyError(ContractError):
    """The policy cannot be enforced as it stands."""

    code = "pii_policy_invalid"


class CustomPattern(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's own pattern, in RE2's syntax: linear in the text's length."""

    name: str
    pattern: str
    action: Action


class DenyList(msgspec.Struct, frozen=True, kw_only=True):
    """Words that are treated as one entity."""

    name: str
    words: tuple[str, ...]
    action: Action


class PiiPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entity that is not named is allowed, that is, not looked for.

    ``completions``: what the model itself writes is masked, too. ``ner``: the deeper tier is asked as well.
    """

    entities: dict[str, Action] = {}
    patterns: tuple[CustomPattern, ...] = ()
    deny_lists: tuple[DenyList, ...] = ()
    completions: bool = False
    ner: bool = False
