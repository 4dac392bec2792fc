"""The background task that looks at the process itself, and at how late it comes to do so."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from gateway_hooks.metrics.metrics import Metrics, State

LAG_INTERVAL = timedelta(milliseconds=100)


async def follow(metrics: Metrics, state: Callable[[], State], *, every: timedelta) -> None:
    """Until cancelled."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        if loop.time() >= due:
            metrics.observe_state(state())
            due = loop.time() + every.total_seconds()
        asleep = loop.time()
        await asyncio.sleep(LAG_INTERVAL.total_seconds())
        metrics.observe_lag(loop.time() - asleep - LAG_INTERVAL.total_seconds())
