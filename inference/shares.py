"""Integers that must sum to a total: largest remainder."""

from collections.abc import Sequence


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Parts of ``total`` in proportion to ``weights``, which sum to ``total`` exactly.

    Each part is the exact share rounded down, plus one for the largest remainders (the earlier part first
    among equals). ``total`` and the weights are not negative; the weights' sum is positive.
    """
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    missing = total - sum(parts)
    if missing:
        by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
        for index in by_remainder[:missing]:
            parts[index] += 1
    return parts
