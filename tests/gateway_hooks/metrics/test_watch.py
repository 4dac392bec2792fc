"""The look around."""

import asyncio
import time
from datetime import timedelta

from gateway_hooks.metrics import watch
from gateway_hooks.metrics.metrics import Metrics, State
from tests.gateway_hooks.metrics.conftest import Read
from tests.gateway_hooks.metrics.test_metrics import STATE


def test_it_looks_around_and_feels_a_blocked_loop(metrics: Metrics, read: Read):
    looks: list[State] = []
    enough = asyncio.Event()

    def state() -> State:
        looks.append(STATE)
        if len(looks) == 1:
            asyncio.get_running_loop().call_later(0.05, _block)
        elif len(looks) == 3:
            enough.set()
        return STATE

    async def watch_a_little() -> None:
        task = asyncio.create_task(watch.follow(metrics, state, every=timedelta(milliseconds=1)))
        await asyncio.wait_for(enough.wait(), timeout=20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(watch_a_little())

    late = read("event_loop_lag_seconds_count") - read("event_loop_lag_seconds_bucket", le="0.1")
    assert late >= 1
    assert read("spooled_events") == 3


def _block() -> None:
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
