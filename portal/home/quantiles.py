"""Percentiles from counts by bin: bins grow by 2 %, so a percentile is off by 1 % at most. Pure."""

import math
from collections import Counter
from collections.abc import Mapping

GROWTH = 1.02
_LOG = math.log(GROWTH)

BIN_SQL = f"CASE WHEN ttft_us > 0 THEN floor(ln(ttft_us) / {_LOG!r})::int END"
"""The bin of a row's ``ttft_us``; null where nothing was measured."""


def middle(number: int) -> float:
    """The value (geometric middle) that stands for a bin, in the unit of what was binned."""
    return float(GROWTH ** (number + 0.5))


def quantile(bins: Mapping[int, int], share: float) -> float | None:
    """The smallest bin's middle below which at least ``share`` of all counts lie; None without counts."""
    total = sum(bins.values())
    if not total:
        return None
    rank, seen = math.ceil(share * total), 0
    for number in sorted(bins):
        seen += bins[number]
        if seen >= rank:
            break
    return middle(number)


def merged(*parts: Mapping[int, int]) -> Counter[int]:
    whole: Counter[int] = Counter()
    for part in parts:
        whole.update(part)
    return whole
