"""The product as a person runs it: ``manage.py up`` in a folder of its own, and the clients of its doors."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from portal.ops.embedded import free_port
from tests.services import data_folder, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 240.0
STOP_SECONDS = 60.0
# What the tests' own services plugin set for this process must not leak into the product.
FOREIGN = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")


def clean_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name not in FOREIGN and not name.startswith("TENANTRY_")
    }


@dataclass
class Product:
    data: Path
    process: subprocess.Popen[bytes]
    log: Path
    announced: dict[str, Any] = field(default_factory=dict)

    @property
    def console_url(self) -> str:
        return str(self.announced["urls"]["console"]).rstrip("/")

    @property
    def gateway_url(self) -> str:
        return str(self.announced["urls"]["gateway"]).rstrip("/")

    @property
    def worker_url(self) -> str:
        return str(self.announced["urls"]["worker"]).rstrip("/")

    @property
    def admin(self) -> dict[str, str]:
        return dict(self.announced["admin"])

    def key(self, tenant: str) -> str:
        return str(self.announced["keys"][tenant])

    def manage(self, *arguments: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run a command as an operator would in another terminal."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=CHECKOUT,
            env=clean_environment() | {"TENANTRY_DATA": str(self.data)},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def gateway(self, key: str, **options: Any) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.gateway_url}/v1",
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
            trust_env=False,
            **options,
        )

    def api(self) -> httpx.Client:
        """The REST API as the admin, through a token made by the documented command."""
        token = self.manage("drf_create_token", self.admin["username"]).stdout.split()[2]
        return httpx.Client(
            base_url=f"{self.console_url}/api/v1",
            headers={"authorization": f"Token {token}"},
            timeout=30,
            trust_env=False,
        )

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(STOP_SECONDS)


@contextmanager
def running_product() -> Iterator[Product]:
    """Start it, wait until it has announced itself, and end it whatever happens."""
    data = data_folder()
    announcement = data / "announced.json"
    log = data / "up.log"
    ports = [
        argument
        for name in ("portal", "gateway", "worker")
        for argument in (f"--{name}-port", str(free_port()))
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--data", str(data), "--json", str(announcement), *ports],
            cwd=CHECKOUT,
            env=clean_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    product = Product(data, process, log)
    try:
        wait_until(
            lambda: announcement.exists() or process.poll() is not None, seconds=START_SECONDS, what="make up"
        )
        assert process.poll() is None, f"up ended early:\n{log.read_text()}"
        product.announced = json.loads(announcement.read_text())
        yield product
    finally:
        if process.poll() is None:
            product.stop()


def measured(done: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Seconds until ``done()``, polled closely; fails after ``seconds``."""
    start = time.monotonic()
    wait_until(done, seconds=seconds, what=what)
    return time.monotonic() - start
