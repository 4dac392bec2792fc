"""Limits under fire: seeded runs of parallel requests over three gateway processes, one of them killed.

``python -m tests.bench.soak_gateway`` prints progress, and as its last line one JSON object of what was
overspent, leaked, lost or doubled: all zeros, or the exit status is 1. The stand-in engine's own books are
the judge, not the counters of the gateway. ``SOAK_RUNS`` and ``SOAK_SEED`` choose how many and which.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import decode_gateway, encode_record
from gateway_hooks.contract.pricing import TOKENS_PER_PRICE_UNIT
from gateway_hooks.contract.snapshot import ApiKey, App, Limits, Tenant, encode_snapshot
from gateway_hooks.contract.usage import GatewayEvent, decode_event
from tests.bench.bench_gateway import fresh_secrets
from tests.bench.load import request_bytes
from tests.gateway_hooks import processes, world

RUNS = int(os.environ.get("SOAK_RUNS", "50"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
REQUESTS = 300
PARALLEL = 300
GATEWAYS = 3
TENANTS = 6
WINDOW_SECONDS = 60
SETTLED_SECONDS = 45.0
PATH = "/v1/chat/completions"
PERMANENT = {
    *(keys.SNAPSHOT, keys.WORKERS, keys.GATEWAYS, keys.GATEWAY_EVENTS, keys.ENGINE_EVENTS),
    keys.worker("worker-1"),  # refreshed by its launcher, which the stand-in has not
}


class Customer(NamedTuple):
    tenant: Tenant
    app: App
    keys: tuple[tuple[ApiKey, str], ...]


class Plan(NamedTuple):
    """One request: to which gateway, its bytes, and after how many seconds the client hangs up."""

    gateway: int
    request: bytes
    patience: float | None


class Gateways:
    """Three processes on ports of their own, so that one can be killed."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * GATEWAYS
        self.urls = [f"http://127.0.0.1:{processes.free_port()}" for _ in range(GATEWAYS)]

    def start_missing(self) -> None:
        for index, process in enumerate(self._processes):
            if process is None:
                self._processes[index] = self._start(index)
        for url in self.urls:
            processes.wait_for(
                lambda url=url: processes.answers(url + "/readyz"), seconds=300, what="a gateway is ready"
            )

    def _start(self, index: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "gateway_hooks", "--port", self.urls[index].rsplit(":", 1)[1]]
        with (self._folder / f"gateway-{index}.log").open("ab") as log:
            return subprocess.Popen(command, env=self._environment, stdout=log, stderr=subprocess.STDOUT)

    def kill(self, index: int) -> None:
        process = self._processes[index]
        if process is not None:
            process.kill()
            process.wait()
            self._processes[index] = None

    def end(self) -> None:
        for process in filter(None, self._processes):
            process.terminate()
        for process in filter(None, self._processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
            process.kill()


def limits(dice: random.Random, *, tight: bool) -> Limits:
    """Some of each kind, so that every kind is the one that binds somewhere."""
    scale = 4 if tight else 10
    return Limits(
        requests_per_minute=dice.choice([None, 8 * scale, 25 * scale]),
        tokens_per_minute=dice.choice([None, 1500 * scale, 6000 * scale]),
        concurrency=dice.choice([None, 2 * scale, 5 * scale]),
        daily_spend_micro=dice.choice([None, 4000 * scale, 20_000 * scale]),
        monthly_spend_micro=dice.choice([None, 3000 * scale, 30_000 * scale]),
    )


def customers(seed: int, dice: random.Random) -> list[Customer]:
    made = []
    for number in range(TENANTS):
        tenant = world.tenant(
            f"soak-{seed}-{number}",
            {"soak": world.route()},
            limits=limits(dice, tight=False),
            clamp_output=dice.random() < 0.5,
            weight=dice.choice([1, 2, 4]),
            queue_depth=dice.choice([4, 64]),
            queue_wait_ms=dice.choice([500, 5000]),
        )
        app = App(
            id=f"app-of-{tenant.id}", tenant_id=tenant.id, name="soak", limits=limits(dice, tight=False)
        )
        made.append(
            Customer(
                tenant,
                app,
                tuple(world.api_key(tenant.id, limits=limits(dice, tight=True)) for _ in range(2)),
            )
        )
    return made


def publish(client: "redis.Redis", version: int, houses: list[Customer]) -> None:
    snapshot = world.snapshot(version, [c.tenant for c in houses], [key for c in houses for key, _ in c.keys])
    snapshot = msgspec.structs.replace(snapshot, apps={c.app.id: c.app for c in houses})
    for customer in houses:
        client.set(keys.spend_known(customer.tenant.id), 1, ex=3600)
    client.set(keys.SNAPSHOT, encode_snapshot(snapshot))
    client.publish(keys.SNAPSHOT_CHANGED, version)

    def served() -> bool:
        records = [client.get(keys.gateway(name.decode())) for name in client.smembers(keys.GATEWAYS)]
        versions = [decode_gateway(raw).snapshot_version for raw in records if raw]
        return sum(found >= version for found in versions) >= GATEWAYS

    processes.wait_for(served, seconds=20, what="three gateways serve the snapshot")


def plans(dice: random.Random, houses: list[Customer]) -> list[Plan]:
    made = []
    for _ in range(REQUESTS):
        customer = dice.choice(houses)
        _, secret = dice.choice(customer.keys)
        body = {
            "model": "soak",
            "messages": [{"role": "user", "content": "soak " * dice.randint(1, 60)}],
            "max_tokens": dice.randint(1, 200),
            "stream": dice.random() < 0.5,
        }
        patience = dice.uniform(0, 0.5) if dice.random() < 0.25 else None
        request = request_bytes(PATH, secret, json.dumps(body).encode())
        made.append(Plan(dice.randrange(GATEWAYS), request, patience))
    return made


async def fire(gateways: Gateways, planned: list[Plan], *, kill: int, kill_after: int) -> Counter[str]:
    """How the requests ended, by HTTP status; the gateway ``kill`` dies after ``kill_after`` answers."""
    ends: Counter[str] = Counter()
    seats = asyncio.Semaphore(PARALLEL)

    async def one(plan: Plan) -> None:
        async with seats:
            try:
                async with asyncio.timeout(plan.patience if plan.patience is not None else 60):
                    ends[await ask(gateways.urls[plan.gateway], plan.request)] += 1
            except TimeoutError:
                ends["hung up"] += 1
            except (OSError, asyncio.IncompleteReadError):
                ends["connection lost"] += 1
        if ends.total() == kill_after:
            await asyncio.to_thread(gateways.kill, kill)

    await asyncio.gather(*(one(plan) for plan in planned))
    return ends


async def ask(url: str, request: bytes) -> str:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request.replace(b"host: bench\r\n", b"host: soak\r\nconnection: close\r\n", 1))
        status = (await reader.readuntil(b"\r\n")).split()[1].decode()
        while await reader.read(65536):
            pass
        return status
    finally:
        writer.close()


def overshoot(houses: list[Customer], books: dict[str, Any]) -> Counter[str]:
    """What the engine ran above any limit, in requests, tokens, micro-currency and requests at once."""
    over: Counter[str] = Counter()
    for customer in houses:
        scopes = [(customer.tenant.id, customer.tenant.limits), (customer.tenant.id, customer.app.limits)]
        scopes += [(f"key.{key.id}", key.limits) for key, _ in customer.keys]
        for name, limit in scopes:
            _add(over, books.get(name), limit)
    return over


def _add(over: Counter[str], account: dict[str, Any] | None, limit: Limits) -> None:
    if account is None:
        return
    price = world.PRICE
    money = account["prompt"] * price.input_micro + account["completion"] * price.output_micro
    used = {
        "overshoot_requests": (len(account["requests"]), limit.requests_per_minute),
        "overshoot_tokens": (account["prompt"] + account["completion"], limit.tokens_per_minute),
        "overshoot_concurrency": (account["most"], limit.concurrency),
    }
    micros = -(-money // TOKENS_PER_PRICE_UNIT)
    for kind, (value, most) in used.items():
        over[kind] += 0 if most is None else max(0, value - most)
    for most in (limit.daily_spend_micro, limit.monthly_spend_micro):
        over["overshoot_micros"] += 0 if most is None else max(0, micros - most)


def held(client: "redis.Redis", houses: list[Customer]) -> int:
    """Slots taken now: leases of tenants, and seats of pools."""
    now = time.time() * 1000
    count = 0
    for customer in houses:
        for scope in (keys.TENANT_SCOPE, keys.app_scope(customer.app.id)):
            count += client.zcount(keys.leases(customer.tenant.id, scope), now, "+inf")
    for name in client.scan_iter(f"{keys.PREFIX}pool:*:seats", count=1000):
        count += client.zcard(name) if client.type(name) == b"zset" else client.hlen(name)
    return count


def stray_keys(client: "redis.Redis", houses: list[Customer]) -> list[str]:
    """Keys that neither expire nor belong to a tenant."""
    ids = {customer.tenant.id for customer in houses}
    stray = []
    for raw in client.scan_iter(count=1000):
        name = raw.decode()
        tenant = name.partition("{")[2].partition("}")[0]
        ours = tenant in ids or tenant.startswith("tenant-soak-")
        if client.ttl(name) < 0 and name not in PERMANENT and not ours:
            stray.append(name)
    return stray


def events(client: "redis.Redis") -> list[GatewayEvent]:
    entries = [decode_event(entry[b"e"]) for _, entry in client.xrange(keys.GATEWAY_EVENTS)]
    return [event for event in entries if isinstance(event, GatewayEvent)]


def ran(books: dict[str, Any], seed: int) -> set[str]:
    """The requests of one run that the engine saw."""
    mine = [account for name, account in books.items() if name.startswith(f"tenant-soak-{seed}-")]
    return {name for account in mine for name in account["requests"]}


def accounted(client: "redis.Redis", seen: set[str]) -> Counter[str]:
    """Requests that ran and have no event, and requests of which two different events tell."""
    told: dict[str, set[str]] = {}
    for event in events(client):
        told.setdefault(event.request_id, set()).add(event.event_id)
    return Counter(
        lost_events=len(seen - told.keys()), doubled_events=sum(len(ids) > 1 for ids in told.values())
    )


def one_run(seed: int, client: "redis.Redis", gateways: Gateways, engine_url: str) -> Counter[str]:
    dice = random.Random(seed)  # noqa: S311 - dice, not secrets
    gateways.start_missing()
    houses = customers(seed, dice)
    publish(client, seed, houses)
    client.delete(keys.GATEWAY_EVENTS)
    planned = plans(dice, houses)
    begun = time.monotonic()
    ends = asyncio.run(
        fire(gateways, planned, kill=dice.randrange(GATEWAYS), kill_after=dice.randint(60, 200))
    )
    took = time.monotonic() - begun
    books = settled_books(engine_url)
    seen = ran(books, seed)
    found = overshoot(houses, books) + Counter(long_runs=int(took >= WINDOW_SECONDS))
    with contextlib.suppress(TimeoutError):
        processes.wait_for(lambda: held(client, houses) == 0, seconds=SETTLED_SECONDS, what="slots are back")
    found["leaked_slots"] += held(client, houses)
    with contextlib.suppress(TimeoutError):
        processes.wait_for(lambda: not accounted(client, seen)["lost_events"], seconds=10, what="events")
    found += accounted(client, seen)
    stray = stray_keys(client, houses)
    found["stray_keys"] += len(stray)
    sys.stdout.write(
        f"seed {seed}: {took:4.1f} s, {dict(ends)}, {len(seen)} ran, bad {dict(+found)} {stray[:3]}\n"
    )
    sys.stdout.flush()
    return found


def settled_books(engine_url: str) -> dict[str, Any]:
    """The engine's books once nothing runs any more."""
    books: dict[str, Any] = {}

    def idle() -> bool:
        books.update(httpx.get(engine_url + "/books", timeout=10).json())
        return all(account["now"] == 0 for account in books.values())

    processes.wait_for(idle, seconds=30, what="the engine is idle")
    return books


@contextlib.contextmanager
def engine(environment: dict[str, str], log: Path) -> Iterator[str]:
    port = processes.free_port()
    command = [sys.executable, "-m", "tests.bench.standin_engine", "--port", str(port)]
    with processes.running(command, environment, log):
        url = f"http://127.0.0.1:{port}"
        processes.wait_for(lambda: processes.answers(url + "/books"), seconds=30, what="the engine answers")
        yield url


def soak() -> dict[str, int]:
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        own = processes.OwnRedis(folder)
        own.start()
        stack.callback(own.kill)
        environment = {**processes.environment(folder, own.url), **fresh_secrets()}
        engine_url = stack.enter_context(engine(environment, folder / "engine.log"))
        client = stack.enter_context(redis.Redis.from_url(own.url))
        client.sadd(keys.WORKERS, "worker-1")
        record = world.worker(engine_url, max_num_seqs=64, kv_cache_tokens=1_000_000)
        client.set(keys.worker("worker-1"), encode_record(record))
        client.set(keys.SNAPSHOT, encode_snapshot(world.snapshot(0, [], [])))
        gateways = Gateways(environment, folder)
        stack.callback(gateways.end)
        for seed in range(SEED, SEED + RUNS):
            found += one_run(seed, client, gateways, engine_url)
    names = (
        *("overshoot_tokens", "overshoot_requests", "overshoot_micros", "overshoot_concurrency"),
        *("leaked_slots", "lost_events", "doubled_events", "stray_keys", "long_runs"),
    )
    return {"runs": RUNS, **{key: found[key] for key in names}}


def main() -> int:
    result = soak()
    sys.stdout.write(json.dumps(result) + "\n")
    return int(any(value for key, value in result.items() if key != "runs"))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main())
