"""What a tier's structured fields may hold."""

from typing import Any

import msgspec
from django.core.exceptions import ValidationError

from gateway_hooks.contract.pii import PiiPolicy, PiiPolicyError
from gateway_hooks.pii.policy import validate_policy
from portal.core.storable import validate_storable

MAX_PERCENT = 1000


def default_percentages() -> list[int]:
    return [50, 80, 100]


def validate_percentages(value: Any) -> None:
    """Rising whole numbers: each is an alert of its own."""
    good = isinstance(value, list) and all(type(one) is int and 1 <= one <= MAX_PERCENT for one in value)
    if not good or value != sorted(set(value)):
        message = "List whole percentages from the least to the greatest, such as 50, 80, 100."
        raise ValidationError(message, code="percentages_invalid")


def validate_pii_policy(value: Any) -> None:
    """None (masks nothing), or a ``contract.pii.PiiPolicy`` whose patterns run in linear time."""
    if value is None:
        return
    validate_storable(value)
    try:
        validate_policy(policy_of(value))
    except PiiPolicyError as error:
        message = f"The PII policy cannot be used: {error}."
        raise ValidationError(message, code=error.code) from error


def policy_of(value: Any) -> PiiPolicy:
    """As gateways read it. Raises ``PiiPolicyError``, also for names that it does not know."""
    try:
        policy = msgspec.convert(value, PiiPolicy)
    except msgspec.ValidationError as error:
        raise PiiPolicyError(str(error)) from error
    if unknown := sorted(set(value) - set(PiiPolicy.__struct_fields__)):
        message = f"it has no {', '.join(map(str, unknown))[:200]}"
        raise PiiPolicyError(message)
    return policy
