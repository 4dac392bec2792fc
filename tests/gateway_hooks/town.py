"""Several gateways before one worker and one small pool, and a crowd of clients that ask all at once."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import msgspec
import redis

from gateway_hooks.contract import keys, pool_keys
from gateway_hooks.contract.fleet import decode_gateway
from gateway_hooks.contract.snapshot import App, Pool, Snapshot
from gateway_hooks.contract.usage import GatewayEvent
from tests.gateway_hooks import processes, world
from tests.gateway_hooks.house import SECONDS, Customer, House
from tests.gateway_hooks.processes import OwnRedis, wait_for

CHAT = "/v1/chat/completions"
START_SECONDS = 300.0
LONG = "[chunks 250] [slow]"
"""A stream of 12 seconds, unless its client hangs up."""


class Crowd:
    """Requests in the background. A future's ``cancel`` hangs up, its ``result`` is the whole answer."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.AsyncClient(timeout=60, limits=limits)

    def ask(
        self, customer: Customer, text: str = LONG, *, url: str, stream: bool = True, **body: Any
    ) -> "Future[httpx.Response]":
        messages = [{"role": "user", "content": text}]
        asked = self._client.post(
            url + CHAT,
            json={"model": "support", "messages": messages, "stream": stream, **body},
            headers={"authorization": f"Bearer {customer.secret}"},
        )
        return asyncio.run_coroutine_threadsafe(asked, self._loop)  # type: ignore[arg-type]

    def close(self) -> None:
        async def leave() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._client.aclose()

        asyncio.run_coroutine_threadsafe(leave(), self._loop).result(SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()


class StoppableRedis(OwnRedis):
    """It can be made to hang: what is sent meanwhile it runs later, as after a partition of the network."""

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class Town(House):
    """``gateways`` are the living ones by URL. All share one data folder, as on one host. ``probe`` asks
    whether limits are checked.
    """

    folder: Path
    own: StoppableRedis
    apps: dict[str, App]
    probe: Customer
    environment: dict[str, str]
    gateways: dict[str, "subprocess.Popen[bytes]"]
    pool: Pool = world.POOL

    @property
    def urls(self) -> list[str]:
        return list(self.gateways)

    def snapshot(self) -> Snapshot:
        self.version += 1
        made = world.snapshot(
            self.version, list(self.tenants.values()), list(self.keys.values()), pool=self.pool
        )
        return msgspec.structs.replace(made, apps=self.apps)

    def serves(self, version: int) -> bool:
        """Every living gateway; the record of a dead one takes a while to expire."""
        names = self.redis.smembers(keys.GATEWAYS)
        records = [raw for name in names if (raw := self.redis.get(keys.gateway(name.decode())))]
        found = {one.url: one.snapshot_version for one in map(decode_gateway, records)}
        return all(found.get(url, -1) >= version for url in self.gateways)

    def seats_at_once(self, count: int | None) -> None:
        """In force with the next customer who moves in."""
        self.pool = msgspec.structs.replace(self.pool, seqs_in_flight=count)

    @property
    def seated(self) -> int:
        return int(self.redis.hlen(pool_keys.seats(self.pool.id)))

    @property
    def waiting(self) -> int:
        return int(self.redis.hlen(pool_keys.asks(self.pool.id)))

    def slots(self, customer: Customer) -> int:
        """Leases that run; one that has ended by itself is swept out by the next admission."""
        seconds, micros = self.redis.time()
        now_ms = seconds * 1000 + micros // 1000
        return int(self.redis.zcount(keys.leases(customer.tenant.id, keys.TENANT_SCOPE), now_ms, "+inf"))

    def requests(self, customer: Customer) -> int:
        """How many requests the tenant's window of the last minute holds."""
        return int(self.redis.zcard(keys.requests_window(customer.tenant.id, keys.TENANT_SCOPE)))

    def tokens(self, customer: Customer) -> int:
        amounts = keys.tokens_amounts(customer.tenant.id, keys.TENANT_SCOPE)
        return int(self.redis.hget(amounts, "total") or 0)

    def running(self, customer: Customer) -> int:
        """How many of the customer's requests have got a part of their answer from the worker."""
        return sum("sent" in entry and entry["state"] == "running" for entry in self.seen(customer))

    def wait_for_seats(self, seated: int, *, waiting: int = 0) -> None:
        wait_for(
            lambda: (self.seated, self.waiting) == (seated, waiting),
            seconds=SECONDS,
            what=f"{seated} are seated and {waiting} wait",
        )

    def wait_until_empty(self, *customers: Customer, seconds: float = SECONDS) -> None:
        """No seat, no place in the queue, no token in flight and no lease is left."""

        def empty() -> bool:
            in_flight = self.redis.hget(pool_keys.state(self.pool.id), "tokens")
            queued = self.redis.exists(pool_keys.waiting(self.pool.id))
            leases = sum(self.slots(customer) for customer in customers)
            return not (self.seated or self.waiting or queued or leases or int(in_flight or 0))

        wait_for(empty, seconds=seconds, what="seats, queue and leases are empty")

    def ended(
        self, customer: Customer, *outcomes: str, holds: int, seconds: float = SECONDS
    ) -> list[GatewayEvent]:
        """However they ended: nothing is left but ``holds``, and each request told of itself once."""
        self.wait_until_empty(customer, seconds=seconds)
        wait_for(
            lambda: len(self.told(customer)) >= len(outcomes) and self.holds(customer) <= holds,
            seconds=seconds,
            what="every request has its event",
        )
        events = self.told(customer)
        assert sorted(event.outcome for event in events) == sorted(outcomes)
        assert len({event.request_id for event in events}) == len(outcomes)
        assert self.holds(customer) == holds
        return events

    def told(self, customer: Customer) -> list[GatewayEvent]:
        """The events as the ledger keeps them: of each id the first."""
        events = {event.event_id: event for event in reversed(self.events(customer.tenant.id))}
        return [*reversed(events.values())]

    def spooled(self) -> int:
        return sum(len(path.read_bytes().splitlines()) for path in self.folder.rglob("events.jsonl"))

    @contextlib.contextmanager
    def open_gateways(self, count: int) -> Iterator[list[str]]:
        """So many more, started side by side."""
        urls = []
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                port = processes.free_port()
                log = self.folder / f"gateway-{port}.log"
                command = [sys.executable, "-m", "gateway_hooks", "--port", str(port)]
                process = stack.enter_context(processes.running(command, self.environment, log))
                url = f"http://127.0.0.1:{port}"
                urls.append(url)
                self.gateways[url] = process
                stack.callback(self.gateways.pop, url, None)
            for url in urls:
                wait_for(
                    lambda url=url: processes.answers(url + "/readyz"),
                    seconds=START_SECONDS,
                    what="the gateway is ready",
                )
            yield urls


@contextlib.contextmanager
def open_town(folder: Path, *, gateways: int) -> Iterator[Town]:
    own = StoppableRedis(folder)
    own.start()
    environment = processes.environment(folder, own.url)
    try:
        with (
            redis.Redis.from_url(own.url) as client,
            processes.standin_worker("worker-1", environment, folder / "worker.log") as worker_url,
        ):
            town = Town(url="", worker_url=worker_url, redis=client)
            town.folder, town.own, town.environment, town.gateways = folder, own, environment, {}
            town.apps = {}
            town.register_worker()
            town.publish()
            with town.open_gateways(gateways) as urls:
                town.url = urls[0]
                try:
                    yield town
                finally:
                    for opened in town.clients:
                        opened.close()
    finally:
        own.kill()


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def last_error(answer: httpx.Response) -> str:
    """The code of the error that ends a stream."""
    last = answer.text.strip().split("\n\n")[-1]
    code: str = json.loads(last.removeprefix("data: "))["error"]["code"]
    return code
