"""The limits in force now."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from gateway_hooks.contract.snapshot import Limits, TemporaryLimits


def effective(limits: Limits, temporary: Iterable[TemporaryLimits], now: datetime) -> Limits:
    """``limits``, those replaced that a raise sets in ``[starts_at, until)``; of several the last."""
    in_force = [raised.limits for raised in temporary if raised.starts_at <= now < raised.until]
    if not in_force:
        return limits
    changes = {
        kind: value
        for raised in in_force
        for kind, value in msgspec.structs.asdict(raised).items()
        if value is not None
    }
    return msgspec.structs.replace(limits, **changes)
