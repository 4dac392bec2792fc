"""The limits in force now."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from gateway_hooks.contract.snapshot import Limits, TemporaryLimits


def effective(limits: Limits, temporary: Iterable[TemporaryLimits], now: datetime) -> Limits:
    """``limits``, or what a raise sets in ``[starts_at, until)`` where that is more: it never lowers one.

    What is not limited stays so. The usual limit may have risen since the raise was made.
    """
    in_force = [raised.limits for raised in temporary if raised.starts_at <= now < raised.until]
    if not in_force:
        return limits
    changes = {
        kind: _greatest(usual, (getattr(raised, kind) for raised in in_force))
        for kind, usual in msgspec.structs.asdict(limits).items()
        if usual is not None
    }
    return msgspec.structs.replace(limits, **changes)


def _greatest(usual: int, raised: Iterable[int | None]) -> int:
    return max((usual, *(value for value in raised if value is not None)))
