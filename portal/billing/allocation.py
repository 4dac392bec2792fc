"""Splits an amount so that the parts sum to it: largest remainder (Hamilton's method). Pure."""

from collections.abc import Mapping
from typing import TypeVar

Key = TypeVar("Key", bound="str | tuple[str, ...]")


def allocate(total: int, weights: Mapping[Key, int]) -> dict[Key, int]:
    """Parts of ``total`` >= 0 in proportion to ``weights`` >= 0, in whole units, summing to ``total``.

    Every part is within one unit of its exact share, and who weighs more never gets less. What is left
    after rounding down goes to the largest remainders, ties to the smaller key: so the outcome depends
    on nothing but the arguments' content. Raises ``ValueError`` where there is something to split but
    no weight: money must not vanish.
    """
    whole = sum(weights.values())
    if total < 0 or any(weight < 0 for weight in weights.values()):
        message = "neither the total nor a weight may be negative"
        raise ValueError(message)
    if whole == 0:
        if total:
            message = f"{total} cannot be split: all weights are zero"
            raise ValueError(message)
        return dict.fromkeys(weights, 0)
    parts = {key: total * weight // whole for key, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda key: (-(total * weights[key] % whole), key))
    for key in by_remainder[: total - sum(parts.values())]:
        parts[key] += 1
    return parts
