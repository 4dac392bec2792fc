"""One running gateway before one stand-in worker, and customers who move in while it runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import decode_gateway, encode_record
from gateway_hooks.contract.snapshot import ApiKey, Snapshot, Tenant, encode_snapshot
from gateway_hooks.contract.usage import GatewayEvent, decode_event
from tests.gateway_hooks import processes, world
from tests.gateway_hooks.processes import wait_for

SECONDS = 10.0
ADAPTER = "a" * 64


@dataclass
class Customer:
    tenant: Tenant
    key: ApiKey
    secret: str
    client: httpx.Client

    def chat(self, text: str = "hello", **body: Any) -> httpx.Response:
        messages = [{"role": "user", "content": text}]
        return self.client.post(
            "/v1/chat/completions", json={"model": "support", "messages": messages, **body}
        )


@dataclass
class House:
    url: str
    worker_url: str
    redis: "redis.Redis"
    version: int = 0
    tenants: dict[str, Tenant] = field(default_factory=dict)
    keys: dict[str, ApiKey] = field(default_factory=dict)
    clients: list[httpx.Client] = field(default_factory=list)

    def snapshot(self) -> Snapshot:
        self.version += 1
        return world.snapshot(self.version, list(self.tenants.values()), list(self.keys.values()))

    def publish(self) -> None:
        """As the portal does: the value, then the message."""
        self.redis.set(keys.SNAPSHOT, encode_snapshot(self.snapshot()))
        self.redis.publish(keys.SNAPSHOT_CHANGED, self.version)

    def serves(self, version: int) -> bool:
        names = self.redis.smembers(keys.GATEWAYS)
        records = [raw for name in names if (raw := self.redis.get(keys.gateway(name.decode())))]
        return bool(records) and all(decode_gateway(raw).snapshot_version >= version for raw in records)

    def publish_and_wait(self) -> None:
        self.publish()
        wait_for(lambda: self.serves(self.version), seconds=SECONDS, what="the gateway serves the snapshot")

    def move_in(self, name: str, *, key_changes: dict[str, Any] | None = None, **changes: Any) -> Customer:
        aliases = changes.pop("aliases", {"support": world.route(ADAPTER), "base": world.route()})
        tenant = world.tenant(name, aliases, **changes)
        key, secret = world.api_key(tenant.id, **(key_changes or {}))
        self.tenants[tenant.id] = tenant
        self.keys[key.id] = key
        self.redis.set(keys.spend_known(tenant.id), 1)
        self.publish_and_wait()
        return Customer(tenant, key, secret, self.client(secret))

    def client(self, secret: str) -> httpx.Client:
        client = httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {secret}"}, timeout=30)
        self.clients.append(client)
        return client

    def register_worker(self) -> None:
        self.redis.sadd(keys.WORKERS, "worker-1")
        self.redis.set(keys.worker("worker-1"), encode_record(world.worker(self.worker_url)))

    def events(self, tenant_id: str | None) -> list[GatewayEvent]:
        entries = [decode_event(entry[b"e"]) for _, entry in self.redis.xrange(keys.GATEWAY_EVENTS)]
        return [e for e in entries if isinstance(e, GatewayEvent) and e.tenant_id == tenant_id]

    def event(self, customer: Customer, count: int = 1) -> GatewayEvent:
        """The newest of exactly ``count`` events."""
        wait_for(
            lambda: len(self.events(customer.tenant.id)) >= count,
            seconds=SECONDS,
            what=f"{count} events are there",
        )
        events = self.events(customer.tenant.id)
        assert len(events) == count
        return events[-1]

    def seen(self, customer: Customer) -> list[dict[str, Any]]:
        """What the worker got from this customer."""
        entries = httpx.get(self.worker_url + "/seen", timeout=10).json()
        return [e for e in entries if e.get("identity", {}).get("tenant_id") == customer.tenant.id]

    def slots(self, customer: Customer) -> int:
        return int(self.redis.zcard(keys.leases(customer.tenant.id, keys.TENANT_SCOPE)))

    def spend(self, customer: Customer) -> int:
        """Micro-currency counted this month, settled and held."""
        pattern = keys.spend(customer.tenant.id, keys.TENANT_SCOPE, "????-??")
        return sum(int(self.redis.get(name) or 0) for name in self.redis.scan_iter(pattern))

    def holds(self, customer: Customer) -> int:
        return int(self.redis.hlen(keys.holds(customer.tenant.id)))


@contextmanager
def open_house(
    folder: Path, own: processes.OwnRedis, *, extra: Mapping[str, str] | None = None
) -> Iterator[House]:
    environment = {**processes.environment(folder, own.url), **(extra or {})}
    with (
        redis.Redis.from_url(own.url) as client,
        processes.standin_worker("worker-1", environment, folder / "worker.log") as worker_url,
    ):
        house = House(url="", worker_url=worker_url, redis=client)
        house.register_worker()
        house.publish()
        with processes.gateway(environment, folder / "gateway.log") as url:
            house.url = url
            wait_for(lambda: processes.answers(url + "/readyz"), seconds=SECONDS, what="the gateway is ready")
            try:
                yield house
            finally:
                for opened in house.clients:
                    opened.close()
