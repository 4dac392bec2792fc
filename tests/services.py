"""Real PostgreSQL and Redis for the tests: a pytest plugin, loaded with ``-p tests.services``.

They start before pytest-django reads the settings, in a temporary folder that goes with them, and under
a leash, so that they end even when pytest is killed. ``TENANTRY_TEST_DATABASE_URL`` and
``TENANTRY_TEST_REDIS_URL`` name other servers to test against. ``DATABASE_URL`` and ``REDIS_URL`` of the
caller are replaced on purpose: the tests must never run against somebody's real data.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import redis

from portal.ops.embedded import (
    UNSAFE_BUT_FAST,
    Server,
    free_port,
    initialise_postgres,
    postgres_answers,
    postgres_server,
    postgres_url,
    redis_answers,
    redis_server,
    redis_url,
)
from portal.ops.layout import Layout, ensure_secrets
from portal.ops.leash import leash_command

START_SECONDS = 60.0
STOP_SECONDS = 15.0
PREFIX = "tenantry-test-"


def wait_until(done: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Return as soon as ``done()``; fail with ``what`` when it is not true in time."""
    deadline = time.monotonic() + seconds
    pause = 0.01
    while not done():
        if time.monotonic() >= deadline:
            message = f"{what}: not within {seconds} s"
            raise TimeoutError(message)
        time.sleep(pause)  # noqa: TID251 - the pause of the one polling loop that tests share
        pause = min(pause * 1.5, 0.25)


def data_folder() -> Path:
    """A new temporary data folder that PostgreSQL's own system user can walk through."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    folder.chmod(0o711)
    return folder


def sweep() -> None:
    """Remove what runs that were killed left behind; their servers ended with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


class Services:
    """The embedded servers of one pytest process."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._folder = data_folder()
        self._layout = Layout.of(self._folder)

    def start(self) -> Mapping[str, str]:
        """Start what the caller did not bring, and return the environment that names it all."""
        self._layout.prepare()
        ensure_secrets(self._layout)
        return {
            "DATABASE_URL": os.environ.get("TENANTRY_TEST_DATABASE_URL") or self._start_postgres(),
            "REDIS_URL": os.environ.get("TENANTRY_TEST_REDIS_URL") or self._start_redis(),
            "TENANTRY_DATA": str(self._folder),
            "TENANTRY_ADAPTER_STORE": str(self._folder / "adapters"),
            "TENANTRY_IDENTITY_KEYS": f"test:{secrets.token_hex(32)}",
            "TENANTRY_SALT_SECRET": secrets.token_hex(32),
            "TENANTRY_SECRET_KEY": secrets.token_urlsafe(50),
        }

    def stop(self) -> None:
        for process in reversed(self._processes):
            stop(process)
        cluster = self._layout.postgres.resolve()
        shutil.rmtree(self._folder, ignore_errors=True)
        if cluster.exists():
            shutil.rmtree(cluster.parent, ignore_errors=True)

    def _start_postgres(self) -> str:
        port = free_port()
        initialise_postgres(self._layout, settings=UNSAFE_BUT_FAST)
        server = postgres_server(self._layout, port=port, settings=UNSAFE_BUT_FAST)
        url = postgres_url(self._layout, port=port)
        self._start(server, "postgres", lambda: postgres_answers(url))
        return url

    def _start_redis(self) -> str:
        port = free_port()
        url = redis_url(self._layout, port=port)
        server = redis_server(self._layout, port=port, durable=False)
        self._start(server, "redis", lambda: redis_answers(url))
        return url

    def _start(self, server: Server, name: str, answers: Callable[[], bool]) -> None:
        log = self._layout.logs / f"{name}.log"
        process = spawn(server, log)
        self._processes.append(process)
        try:
            wait_until(
                lambda: answers() or process.poll() is not None,
                seconds=START_SECONDS,
                what=f"start of {name}",
            )
        finally:
            if process.poll() is not None:
                message = f"{name} ended with status {process.returncode}:\n{log.read_text()}"
                raise RuntimeError(message)


def spawn(server: Server, log: Path) -> subprocess.Popen[bytes]:
    """Start an embedded server under a leash that this process holds."""
    command = leash_command(
        server.command, owner=os.getpid(), grace=5, stop_signal=server.stop_signal, user=server.user
    )
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            # Ctrl-C at the terminal is for pytest, which then ends its servers in order.
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(STOP_SECONDS)


_running: list[Services] = []


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """A wrapper runs before pytest-django's own hook, which reads the settings."""
    asked = early_config.known_args_namespace
    if not (asked.help or asked.version):
        sweep()
        services = Services()
        _running.append(services)
        try:
            os.environ.update(services.start())
        except BaseException:
            pytest_unconfigure()  # pytest itself would not call it this early
            raise
    return (yield)


def pytest_unconfigure() -> None:
    while _running:
        _running.pop().stop()


@pytest.fixture
def redis_client() -> Iterator["redis.Redis"]:
    """A client of the tests' Redis, which is emptied first. Answers are bytes."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.flushall()
        yield client


@dataclass
class PrivateRedis:
    """A Redis of one test alone, for tests that take it away and bring it back."""

    layout: Layout
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return redis_url(self.layout, port=self.port)

    def start(self) -> None:
        server = redis_server(self.layout, port=self.port)
        self.process = spawn(server, self.layout.logs / "redis.log")
        wait_until(lambda: redis_answers(self.url), seconds=START_SECONDS, what="start of a private Redis")

    def stop(self) -> None:
        """End it as an operator would; what it held comes back with ``start``."""
        if self.process is not None:
            stop(self.process)
            self.process = None


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[Callable[[], PrivateRedis]]:
    """A factory of running ``PrivateRedis``; all are ended after the test."""
    made: list[PrivateRedis] = []

    def make() -> PrivateRedis:
        layout = Layout.of(tmp_path / f"redis-{len(made)}")
        layout.prepare()
        ensure_secrets(layout)
        private = PrivateRedis(layout, free_port())
        made.append(private)
        private.start()
        return private

    yield make
    for private in made:
        private.stop()
