"""Whether the usage that gateways and workers sent has been taken in."""

from datetime import datetime, timedelta
from typing import Any

from gateway_hooks.contract import keys
from portal.core.redis import client as redis_client

SETTLING = timedelta(seconds=5)
"""Stream entries younger than this are traffic; older ones mean that nobody ingests."""


def ingest_lags(now: datetime) -> int:
    """How many streams hold usage that should have been taken in. Raises ``REDIS_AWAY``."""
    return sum(_waiting(stream, now) for stream in (keys.GATEWAY_EVENTS, keys.ENGINE_EVENTS))


def _waiting(stream: str, now: datetime) -> int:
    """1 if the oldest entry is older than any ingester would leave it."""
    oldest: Any = redis_client().xrange(stream, count=1)
    if not oldest:
        return 0
    milliseconds = int(oldest[0][0].split(b"-")[0])
    return int(milliseconds < (now - SETTLING).timestamp() * 1000)
