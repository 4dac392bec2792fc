"""A policy made ready: what to look for, what to do with it, and what a placeholder looks like."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway_hooks.contract.pii import (
    ENTITIES,
    NER_ENTITIES,
    Action,
    CustomPattern,
    DenyList,
    PiiPolicy,
    PiiPolicyError,
)
from gateway_hooks.pii.custom import Rule, deny_rules, pattern_rule
from gateway_hooks.pii.entities import RANK
from gateway_hooks.pii.placeholders import placeholder_pattern

MAX_RULES = 50
_ACTIONS = frozenset({"mask", "block", "allow", "redact"})


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """``wanted``: built-in entities of the pattern tier; ``ner``: those of the deeper tier, also of a policy
    that has it off, so that nothing it names can pass unseen.

    ``opaque`` matches what looks like a placeholder of this policy; no value is looked for inside one.
    """

    wanted: frozenset[str]
    ner: frozenset[str]
    rules: tuple[Rule, ...]
    unswept: frozenset[str]
    actions: Mapping[str, Action]
    rank: dict[str, int]
    opaque: re.Pattern[str]
    completions: bool


def compile_policy(policy: PiiPolicy) -> CompiledPolicy:
    """Takes milliseconds: keep the result. Raises ``PiiPolicyError``."""
    _check(policy)
    rules = [pattern_rule(pattern) for pattern in policy.patterns if pattern.action != "allow"]
    denied = [rule for deny in policy.deny_lists if deny.action != "allow" for rule in deny_rules(deny)]
    actions: dict[str, Action] = {
        name: action for name, action in policy.entities.items() if action != "allow"
    }
    wanted = frozenset(actions) - frozenset(NER_ENTITIES)
    actions |= {rule.name: rule.action for rule in (*rules, *denied)}
    return CompiledPolicy(
        wanted=wanted,
        ner=frozenset(actions) & frozenset(NER_ENTITIES),
        rules=(*rules, *denied),
        unswept=frozenset(rule.name for rule in denied),
        actions=actions,
        rank=RANK
        | {name: len(RANK) + place for place, name in enumerate(dict.fromkeys(rule.name for rule in rules))},
        opaque=placeholder_pattern(),
        completions=policy.completions,
    )


def validate_policy(policy: PiiPolicy) -> None:
    """For whoever saves one. Raises ``PiiPolicyError`` with a text for the person who wrote it."""
    compile_policy(policy)
    unseen = [name for name in NER_ENTITIES if policy.entities.get(name, "allow") != "allow"]
    if unseen and not policy.ner:
        message = f"only the deeper tier finds {', '.join(unseen)}, and it is off"
        raise PiiPolicyError(message)


def _check(policy: PiiPolicy) -> None:
    unknown = sorted(set(policy.entities) - set(ENTITIES))
    if unknown:
        message = f"no such entity: {', '.join(unknown)[:200]}"
        raise PiiPolicyError(message)
    own: list[CustomPattern | DenyList] = [*policy.patterns, *policy.deny_lists]
    names = [rule.name for rule in own]
    if len(set(names)) < len(names):
        message = "two patterns or deny-lists have the same name"
        raise PiiPolicyError(message)
    if len(names) > MAX_RULES:
        message = f"more than {MAX_RULES} patterns and deny-lists"
        raise PiiPolicyError(message)
    given = [*policy.entities.values(), *(rule.action for rule in own)]
    if not _ACTIONS.issuperset(given):
        message = f"an action is one of {', '.join(sorted(_ACTIONS))}"
        raise PiiPolicyError(message)
