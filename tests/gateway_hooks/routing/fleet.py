"""Two gateways before stand-in workers that can be started and killed: a house with more doors."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import GatewayRecord, decode_gateway, encode_record
from tests.gateway_hooks import processes, world
from tests.gateway_hooks.house import Customer, House
from tests.gateway_hooks.processes import OwnRedis, wait_for

CHAT = "/v1/chat/completions"


@dataclass
class Worker:
    id: str
    url: str
    boot: int
    process: "subprocess.Popen[bytes]"

    @property
    def is_dead(self) -> bool:
        return self.process.poll() is not None

    def seen(self, customer: Customer) -> list[dict[str, Any]]:
        entries = httpx.get(self.url + "/seen", timeout=10).json()
        return [e for e in entries if e.get("identity", {}).get("tenant_id") == customer.tenant.id]


@dataclass
class Fleet(House):
    folder: Path = Path()
    environment: dict[str, str] = field(default_factory=dict)
    other_url: str = ""
    workers: dict[str, Worker] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def start_worker(self, worker_id: str, **record: Any) -> Worker:
        """At the address of its former boot, if it had one; returns once it answers."""
        before = self.workers.get(worker_id)
        port = int(before.url.rpartition(":")[2]) if before else processes.free_port()
        command = [sys.executable, "-m", "tests.gateway_hooks.standin_worker"]
        process = self.stack.enter_context(
            processes.running(
                [*command, "--port", str(port), "--worker-id", worker_id],
                self.environment,
                self.folder / f"{worker_id}.log",
            )
        )
        worker = Worker(worker_id, f"http://127.0.0.1:{port}", before.boot + 1 if before else 1, process)
        wait_for(lambda: processes.answers(worker.url + "/seen"), seconds=60, what=f"{worker_id} answers")
        self.workers[worker_id] = worker
        self.register(worker_id, **record)
        return worker

    def register(self, worker_id: str, **record: Any) -> None:
        """As a launcher does: tell the fleet of this boot."""
        worker = self.workers[worker_id]
        told = world.worker(worker.url, id=worker_id, boot_id=f"{worker_id}-boot-{worker.boot}", **record)
        self.redis.sadd(keys.WORKERS, worker_id)
        self.redis.set(keys.worker(worker_id), encode_record(told))

    def restart_dead(self) -> None:
        for worker_id, worker in list(self.workers.items()):
            if worker.is_dead:
                self.start_worker(worker_id)
        wait_for(self.all_healthy, seconds=15, what="all workers are healthy")

    def records(self) -> list[GatewayRecord]:
        names = self.redis.smembers(keys.GATEWAYS)
        return [decode_gateway(raw) for name in names if (raw := self.redis.get(keys.gateway(name.decode())))]

    def all_healthy(self) -> bool:
        """And reachable: a tenant's own breakers do not matter to other tests."""
        return not any(r.unhealthy or any(not b.tenant_id for b in r.breakers) for r in self.records())

    def at_other(self, customer: Customer) -> httpx.Client:
        """The customer's client at the other gateway."""
        headers = {"authorization": f"Bearer {customer.secret}"}
        client = httpx.Client(base_url=self.other_url, headers=headers, timeout=30)
        self.clients.append(client)
        return client

    def all_seen(self, customer: Customer) -> list[dict[str, Any]]:
        """What the living workers got from this customer."""
        return [entry for w in self.workers.values() if not w.is_dead for entry in w.seen(customer)]


@contextmanager
def open_fleet(folder: Path, own: OwnRedis, *worker_ids: str) -> Iterator[Fleet]:
    environment = processes.environment(folder, own.url)
    with redis.Redis.from_url(own.url) as client, ExitStack() as stack:
        fleet = Fleet(
            url="", worker_url="", redis=client, folder=folder, environment=environment, stack=stack
        )
        for worker_id in worker_ids:
            fleet.start_worker(worker_id)
        fleet.publish()
        fleet.url = stack.enter_context(processes.gateway(environment, folder / "gateway.log"))
        fleet.other_url = stack.enter_context(processes.gateway(environment, folder / "other.log"))
        for url in (fleet.url, fleet.other_url):
            wait_for(
                lambda url=url: processes.answers(url + "/readyz"), seconds=60, what="the gateway is ready"
            )
        try:
            yield fleet
        finally:
            for opened in fleet.clients:
                opened.close()
