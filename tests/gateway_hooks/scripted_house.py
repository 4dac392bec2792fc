"""A running gateway before a worker that answers by a script, for what passes through and what is masked."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import redis

from tests.gateway_hooks import processes
from tests.gateway_hooks.house import SECONDS, Customer, House
from tests.gateway_hooks.processes import wait_for


class ScriptedHouse(House):
    """``folder`` is all that its processes write to; ``own`` is its Redis."""

    folder: Path
    own: processes.OwnRedis

    def script(self, customer: Customer, **script: Any) -> None:
        """From now on the worker answers this customer so (``ScriptedWorker``)."""
        httpx.put(f"{self.worker_url}/script/{customer.tenant.id}", json=script, timeout=10)


@contextmanager
def scripted_worker(environment: dict[str, str], log: Path) -> Iterator[str]:
    port = processes.free_port()
    command = [sys.executable, "-m", "tests.gateway_hooks.scripted_worker", "--port", str(port)]
    with processes.running([*command, "--worker-id", "worker-1"], environment, log):
        url = f"http://127.0.0.1:{port}"
        seconds = processes.START_SECONDS
        wait_for(lambda: processes.answers(url + "/seen"), seconds=seconds, what="the worker answers")
        yield url


@contextmanager
def gateway_of(module: str, environment: dict[str, str], log: Path) -> Iterator[str]:
    port = processes.free_port()
    with processes.running([sys.executable, "-m", module, "--port", str(port)], environment, log):
        url = f"http://127.0.0.1:{port}"
        seconds = processes.START_SECONDS
        wait_for(lambda: processes.answers(url + "/healthz"), seconds=seconds, what="the gateway answers")
        yield url


@contextmanager
def open_scripted_house(
    folder: Path, *, extra: Mapping[str, str] | None = None, module: str = "gateway_hooks"
) -> Iterator[ScriptedHouse]:
    """With a Redis of its own. ``module`` is run as the gateway."""
    own = processes.OwnRedis(folder)
    own.start()
    environment = {**processes.environment(folder, own.url), **(extra or {})}
    try:
        with (
            redis.Redis.from_url(own.url) as client,
            scripted_worker(environment, folder / "worker.log") as worker_url,
        ):
            house = ScriptedHouse(url="", worker_url=worker_url, redis=client)
            house.folder, house.own = folder, own
            house.register_worker()
            house.publish()
            with gateway_of(module, environment, folder / "gateway.log") as url:
                house.url = url
                wait_for(lambda: processes.answers(url + "/readyz"), seconds=SECONDS, what="ready")
                try:
                    yield house
                finally:
                    for opened in house.clients:
                        opened.close()
    finally:
        own.kill()
