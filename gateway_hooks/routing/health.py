"""Whether workers are alive: asked every second, on a way of our own and not through LiteLLM."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Literal

import aiohttp

from gateway_hooks.contract.fleet import WorkerRecord
from gateway_hooks.contract.identity import HEADER, Identity, Keyring, body_sha256, sign
from gateway_hooks.routing.table import WorkerTable

PATH = "/health"
EVERY_SECONDS = 1.0
TIMEOUT_SECONDS = 2.0
FAILURES = 2
_OK = 200

Pulse = Literal["alive", "sick", "silent", "refused"]
"""``refused``: nobody listens. ``silent``: no answer in time, or a broken one. ``sick``: any but 200."""


class Health:
    """By worker and boot: ``FAILURES`` checks in a row without success, and it is not chosen. Pure."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[str, int]] = {}

    def note(self, worker: WorkerRecord, pulse: Pulse) -> None:
        if pulse == "alive":
            self._failed.pop(worker.id, None)
            return
        boot, count = self._failed.get(worker.id, ("", 0))
        self._failed[worker.id] = worker.boot_id, (count + 1 if boot == worker.boot_id else 1)

    def is_healthy(self, worker: WorkerRecord) -> bool:
        """Also of a worker that was never asked, and of one that has started anew since."""
        boot, count = self._failed.get(worker.id, ("", 0))
        return boot != worker.boot_id or count < FAILURES

    def keep(self, ids: Iterable[str]) -> None:
        """Forget all other workers."""
        known = set(ids)
        self._failed = {name: failed for name, failed in self._failed.items() if name in known}


class Pulses:
    """Feels a worker's pulse: a signed ``GET /health``. Made inside the running loop."""

    def __init__(self, keyring: Keyring, *, clock: Callable[[], datetime]) -> None:
        self._keyring = keyring
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def feel(self, worker: WorkerRecord) -> Pulse:
        headers = {HEADER: sign(self._identity(worker), self._keyring)}
        try:
            async with self._client().get(worker.url.rstrip("/") + PATH, headers=headers) as answer:
                return "alive" if answer.status == _OK else "sick"
        except aiohttp.ClientConnectorError:
            return "refused"
        except (aiohttp.ClientError, TimeoutError, OSError):
            return "silent"

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
                # A kept connection breaks where a new one is refused: that would say less.
                connector=aiohttp.TCPConnector(force_close=True),
                trust_env=False,
            )
        return self._session

    def _identity(self, worker: WorkerRecord) -> Identity:
        return Identity(
            request_id=secrets.token_hex(16),
            worker_id=worker.id,
            method="GET",
            path=PATH,
            body_sha256=body_sha256(b""),
            issued_at=self._clock().timestamp(),
        )


async def watch(
    table: WorkerTable,
    health: Health,
    feel: Callable[[WorkerRecord], Awaitable[Pulse]],
    *,
    alive: Callable[[WorkerRecord], None] = lambda _: None,
    every: float = EVERY_SECONDS,
) -> None:
    """Until cancelled: ask every worker that is ready, all at once, one question at a time for each.

    ``alive`` is told of every worker that answers well.
    """
    asking: dict[str, asyncio.Task[None]] = {}

    async def ask(worker: WorkerRecord) -> None:
        pulse = await feel(worker)
        health.note(worker, pulse)
        if pulse == "alive":
            alive(worker)

    try:
        while True:
            known = [worker for worker in table.workers.values() if worker.state == "ready"]
            health.keep(worker.id for worker in known)
            for worker in known:
                if worker.id not in asking or asking[worker.id].done():
                    asking[worker.id] = asyncio.create_task(ask(worker))
            asking = {name: task for name, task in asking.items() if not task.done()}
            await asyncio.sleep(every)
    finally:
        for task in asking.values():
            task.cancel()
        await asyncio.gather(*asking.values(), return_exceptions=True)
