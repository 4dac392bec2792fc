"""A worker's life: find the pool, start vLLM, register, keep the record fresh, drain, end.

One launcher per worker id. It ends with a non-zero status when vLLM dies or hangs or when usage events can
no longer be shipped, so that whoever supervises it starts it again.
"""

import fcntl
import logging
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import redis

from gateway_hooks.contract.fleet import WorkerRecord, WorkerState
from gateway_hooks.contract.snapshot import Pool
from inference.boot import Boot, EngineFacts, write_atomically
from inference.command import vllm_command, vllm_environment
from inference.errors import InferenceError
from inference.outbox import stored_bytes
from inference.pool import await_pool
from inference.probe import Probe
from inference.process import EngineProcess
from inference.registry import Registry
from inference.settings import Settings
from inference.shipping import Shipping
from inference.vitals import MISSES, Vitals

log = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0
WATCH_SECONDS = 0.25
SHUTDOWN_SECONDS = 10
STOP_MARGIN_SECONDS = 10.0
SHIP_SECONDS = 10.0
REDIS_TIMEOUT_SECONDS = 2.0
# The record lives 15 s and is not refreshed while a probe waits.
PROBE_SECONDS = (1.0, 10.0)


class LauncherError(InferenceError):
    """The worker cannot start."""

    code = "worker_failed"


class Launcher:
    """``host`` and ``port`` are where vLLM listens; ``url`` is what gateways are told."""

    def __init__(
        self, settings: Settings, *, pool: str, worker_id: str, host: str, port: int, url: str | None = None
    ) -> None:
        self._settings = settings
        self._pool_name = pool
        self._worker_id = worker_id
        self._host = host
        self._port = port
        self._url = url or f"http://{host}:{port}"
        self._folder = settings.data / "workers" / worker_id
        self._redis = redis.Redis.from_url(
            settings.redis_url,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        )
        self._registry = Registry(self._redis)
        self._probe = Probe(
            self._url_to_probe(),
            worker_id=worker_id,
            keyring=settings.keyring,
            timeout=_probe_timeout(settings.hang_limit),
        )
        self._adapters: tuple[str, ...] = ()
        self._asked_to_stop = threading.Event()
        self._asked_twice = threading.Event()

    def run(self) -> None:
        """Serve until asked to stop. Raises ``InferenceError`` if it cannot, or no longer can."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with _only_one(self._folder / "lock", self._worker_id):
            self._install_signals()
            pool = await_pool(
                self._redis,
                self._pool_name,
                last_good=self._folder / "pool.json",
                limit=self._settings.snapshot_wait,
                stop=self._asked_to_stop,
            )
            boot = self._new_boot(pool)
            shipping = Shipping(self._redis, Path(boot.outbox), live_boot=boot.boot_id)
            shipping.start()
            try:
                self._serve(boot, shipping)
            finally:
                shipping.finish(seconds=SHIP_SECONDS)
                self._probe.close()

    def _serve(self, boot: Boot, shipping: Shipping) -> None:
        engine = EngineProcess(
            vllm_command(
                boot.pool,
                host=self._host,
                port=self._port,
                device=self._settings.device,
                shutdown_seconds=SHUTDOWN_SECONDS,
            ),
            vllm_environment(
                boot.pool, os.environ, boot_file=boot.file, local_model=Path(boot.pool.model).is_dir()
            ),
        )
        patience = self._settings.hang_limit.total_seconds()
        vitals = Vitals(engine, shipping, self._probe, patience=patience)
        try:
            if self._await_ready(boot, vitals):
                log.info("worker %s is ready at %s", self._worker_id, self._url)
                self._keep(boot, vitals)
                self._drain(boot, vitals)
        finally:
            self._registry.withdraw(self._worker_id)
            engine.stop(seconds=0 if self._asked_twice.is_set() else SHUTDOWN_SECONDS + STOP_MARGIN_SECONDS)

    def _await_ready(self, boot: Boot, vitals: Vitals) -> bool:
        """True when vLLM answers; False when asked to stop before."""

        def ready() -> bool:
            return self._probe.healthy()

        limit = self._settings.start_limit.total_seconds()
        if not self._watch(boot, vitals, "starting", until=ready, seconds=limit):
            if self._asked_to_stop.is_set():
                return False
            message = f"vLLM was not ready within {limit:.0f} s"
            raise LauncherError(message, code="worker_start_timeout")
        write_atomically(boot.ready_file, b"")
        return True

    def _keep(self, boot: Boot, vitals: Vitals) -> None:
        self._watch(boot, vitals, "ready", until=self._asked_to_stop.is_set, seconds=None)

    def _drain(self, boot: Boot, vitals: Vitals) -> None:
        """Out of routing first, because a vLLM that shuts down answers new requests with 500."""
        log.info("draining worker %s", self._worker_id)
        noticed_at = time.monotonic() + self._settings.drain_notice.total_seconds()

        def drained() -> bool:
            return self._asked_twice.is_set() or (
                time.monotonic() >= noticed_at and not self._probe.in_flight()
            )

        limit = self._settings.drain_limit.total_seconds()
        if not self._watch(boot, vitals, "draining", until=drained, seconds=limit):
            log.warning("requests are still in flight after %.0f s; they get %d s", limit, SHUTDOWN_SECONDS)

    def _watch(
        self,
        boot: Boot,
        vitals: Vitals,
        state: WorkerState,
        *,
        until: Callable[[], bool],
        seconds: float | None,
    ) -> bool:
        """Keep the record fresh until ``until()`` (True) or for ``seconds`` (False).

        Raises ``VitalsError`` when the worker must end. A stop asked for during start-up ends the watch too.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        refresh_at = 0.0
        while True:
            vitals.check()
            if until():
                return True
            now = time.monotonic()
            if (deadline is not None and now >= deadline) or (
                state == "starting" and self._asked_to_stop.is_set()
            ):
                return False
            if now >= refresh_at:
                if state == "ready" and vitals.ask():
                    self._adapters = self._probe.adapters() or self._adapters
                self._registry.publish(self._record(boot, state))
                refresh_at = now + REFRESH_SECONDS
            self._asked_twice.wait(WATCH_SECONDS)

    def _record(self, boot: Boot, state: WorkerState) -> WorkerRecord:
        facts = _read_facts(boot)
        return WorkerRecord(
            id=self._worker_id,
            boot_id=boot.boot_id,
            pool_id=boot.pool.id,
            url=self._url,
            state=state,
            base_model=boot.pool.base_model,
            device=self._settings.device,
            max_num_seqs=boot.pool.max_num_seqs,
            kv_cache_tokens=facts.kv_cache_tokens if facts else None,
            vllm_version=facts.vllm_version if facts else "",
            started_at=boot.wall(boot.started_mono_ns),
            seen_at=datetime.fromtimestamp(time.time(), UTC),
            adapters=self._adapters,
            outbox_bytes=stored_bytes(Path(boot.outbox)),
        )

    def _new_boot(self, pool: Pool) -> Boot:
        folder = self._folder / "boot"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        boot = Boot(
            worker_id=self._worker_id,
            boot_id=uuid.uuid4().hex,
            pool=pool,
            started_wall_ns=time.time_ns(),
            started_mono_ns=time.monotonic_ns(),
            folder=str(folder),
            outbox=str(self._folder / "outbox"),
            adapter_store=str(self._settings.adapter_store),
            interval_seconds=self._settings.interval.total_seconds(),
            outbox_max_bytes=self._settings.outbox_max_bytes,
            max_body_bytes=self._settings.max_body_bytes,
        )
        write_atomically(boot.file, msgspec.json.encode(boot))
        return boot

    def _url_to_probe(self) -> str:
        host = "127.0.0.1" if self._host in ("0.0.0.0", "") else self._host  # noqa: S104 - compared, not bound
        return f"http://{host}:{self._port}"

    def _install_signals(self) -> None:
        def asked(*_: object) -> None:
            if self._asked_to_stop.is_set():
                self._asked_twice.set()
            self._asked_to_stop.set()

        signal.signal(signal.SIGTERM, asked)
        signal.signal(signal.SIGINT, asked)


def _probe_timeout(hang_limit: timedelta) -> float:
    shortest, longest = PROBE_SECONDS
    return min(max(hang_limit.total_seconds() / MISSES, shortest), longest)


def _read_facts(boot: Boot) -> EngineFacts | None:
    try:
        return msgspec.json.decode(boot.engine_file.read_bytes(), type=EngineFacts)
    except FileNotFoundError:
        return None


@contextmanager
def _only_one(path: Path, worker_id: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another launcher already runs worker {worker_id!r} in this data folder"
            raise LauncherError(message, code="worker_already_runs") from error
        yield
