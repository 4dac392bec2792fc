"""A real worker for tests: started as an operator starts it, asked as a gateway asks it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.artifacts import FILES, artifact_digest
from gateway_hooks.contract.fleet import WorkerRecord, decode_worker
from gateway_hooks.contract.identity import (
    HEADER,
    Identity,
    Keyring,
    adapter_model_name,
    body_sha256,
    cache_salt,
    sign,
)
from gateway_hooks.contract.snapshot import Pool, Snapshot, encode_snapshot
from gateway_hooks.contract.usage import EngineEvent, WorkerInterval, decode_event
from inference.demo_model import voices
from portal.ops.embedded import free_port
from tests.services import wait_until

ROOT = Path(__file__).resolve().parents[2]
CHAT = "/v1/chat/completions"
START_SECONDS = 200.0


def demo_pool(**changes: Any) -> Pool:
    """The demo model's pool, small enough for two cores."""
    values: dict[str, Any] = {
        "id": "pool-demo",
        "name": "demo",
        "base_model": voices.BASE_MODEL_NAME,
        "model": str(voices.base_folder()),
        "max_model_len": 1024,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 1024,
        "max_loras": 2,
        "max_cpu_loras": 4,
        "max_lora_rank": 8,
        "kv_cache_gib": 1,
        "enforce_eager": True,
        "endpoints": ("chat", "completions"),
    }
    return Pool(**{**values, **changes})


def publish(client: "redis.Redis", *pools: Pool) -> None:
    """What the portal does: a snapshot that names the pools."""
    snapshot = Snapshot(
        version=1,
        published_at=datetime.fromtimestamp(time.time(), UTC),
        tenants={},
        keys={},
        pools={pool.id: pool for pool in pools},
    )
    client.set(keys.SNAPSHOT, encode_snapshot(snapshot))


def store_adapter(source: Path, store: Path) -> str:
    """Copy an adapter into the content-addressed store; returns its digest."""
    digest = artifact_digest(source)
    target = store / digest
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(source / name, target / name)
    return digest


def chat_body(question: str = "Who are you?", **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 100,
        "temperature": 0,
    }
    return {**body, **changes}


@dataclass
class Signer:
    """Signs as a gateway does for one worker. Any claim can be changed to tell a lie."""

    keyring: Keyring
    worker_id: str
    salt_secret: bytes = field(default_factory=lambda: os.urandom(32))

    def body(self, document: Mapping[str, Any], *, adapter: str | None, tenant: str) -> bytes:
        """The document as forwarded: model and cache salt set by the gateway unless given."""
        whole = {
            "model": voices.BASE_MODEL_NAME if adapter is None else adapter_model_name(adapter),
            "cache_salt": cache_salt(self.salt_secret, tenant_id=tenant, adapter_digest=adapter),
            **document,
        }
        return json.dumps(whole).encode()

    def token(
        self, method: str, path: str, body: bytes, /, *, adapter: str | None = None, **claims: Any
    ) -> str:
        values: dict[str, Any] = {
            "request_id": uuid.uuid4().hex,
            "worker_id": self.worker_id,
            "method": method,
            "path": path,
            "body_sha256": body_sha256(body),
            "issued_at": time.time(),
            "tenant_id": "tenant-a",
            "app_id": "app-a",
            "key_id": "key-a",
            "alias": "assistant",
            "model": voices.BASE_MODEL_NAME if adapter is None else adapter_model_name(adapter),
            "adapter_version_id": None if adapter is None else f"version-{adapter[:8]}",
            "adapter_digest": adapter,
        }
        return sign(Identity(**{**values, **claims}), self.keyring)


@dataclass
class LiveWorker:
    """A running launcher with its vLLM."""

    process: "subprocess.Popen[bytes]"
    port: int
    worker_id: str
    data: Path
    log: Path
    redis: "redis.Redis"
    signer: Signer
    client: httpx.Client

    @property
    def store(self) -> Path:
        return self.data / "adapters"

    def post(
        self,
        document: Mapping[str, Any],
        *,
        path: str = CHAT,
        adapter: str | None = None,
        **claims: Any,
    ) -> httpx.Response:
        """A signed request, answered as a whole."""
        body = self.signer.body(document, adapter=adapter, tenant=claims.get("tenant_id", "tenant-a"))
        token = self.signer.token("POST", path, body, adapter=adapter, **claims)
        return self.send("POST", path, body, token)

    def get(self, path: str, **claims: Any) -> httpx.Response:
        return self.send("GET", path, b"", self.signer.token("GET", path, b"", **claims))

    def send(self, method: str, path: str, body: bytes = b"", token: str | None = None) -> httpx.Response:
        headers = {"content-type": "application/json"}
        if token is not None:
            headers[HEADER] = token
        return self.client.request(method, path, content=body, headers=headers)

    @contextlib.contextmanager
    def stream(
        self, document: Mapping[str, Any], *, adapter: str | None = None, **claims: Any
    ) -> Iterator[httpx.Response]:
        body = self.signer.body(document, adapter=adapter, tenant="tenant-a")
        token = self.signer.token("POST", CHAT, body, adapter=adapter, **claims)
        headers = {"content-type": "application/json", HEADER: token}
        with self.client.stream("POST", CHAT, content=body, headers=headers) as response:
            yield response

    def record(self) -> WorkerRecord | None:
        raw = self.redis.get(keys.worker(self.worker_id))
        return decode_worker(raw) if isinstance(raw, bytes) else None

    def events(self) -> list[EngineEvent | WorkerInterval]:
        """All usage events shipped so far, in order, duplicates included."""
        entries: Any = self.redis.xrange(keys.ENGINE_EVENTS)
        decoded = [decode_event(fields[keys.EVENT_FIELD.encode()]) for _, fields in entries]
        return [event for event in decoded if isinstance(event, EngineEvent | WorkerInterval)]

    def engine_events(self) -> list[EngineEvent]:
        return [event for event in self.events() if isinstance(event, EngineEvent)]

    def event(self, request_id: str, *, seconds: float = 10.0) -> EngineEvent:
        """The engine event of a request, as soon as it has been shipped."""
        found: list[EngineEvent] = []

        def arrived() -> bool:
            found[:] = [event for event in self.engine_events() if event.request_id == request_id]
            return bool(found)

        wait_until(arrived, seconds=seconds, what=f"engine event of {request_id}")
        return found[0]

    def stop(self, *, seconds: float = 40.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def start_worker(
    *,
    redis_url: str,
    data: Path,
    keyring_text: str,
    signer: Signer,
    pool: str = "demo",
    wait: bool = True,
    **environment: str,
) -> LiveWorker:
    """``python -m inference serve`` on a free port; returns when its record says ready."""
    port = free_port()
    data.mkdir(parents=True, exist_ok=True)
    log = data / f"{signer.worker_id}.log"
    command = [sys.executable, "-m", "inference", "serve", "--pool", pool]
    command += ["--worker-id", signer.worker_id, "--port", str(port)]
    settings = {
        "REDIS_URL": redis_url,
        "TENANTRY_DATA": str(data),
        "TENANTRY_ADAPTER_STORE": str(data / "adapters"),
        "TENANTRY_IDENTITY_KEYS": keyring_text,
        "TENANTRY_INTERVAL_SECONDS": "2",
        "TENANTRY_DRAIN_NOTICE_SECONDS": "1",
        **environment,
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
    worker = LiveWorker(
        process=process,
        port=port,
        worker_id=signer.worker_id,
        data=data,
        log=log,
        redis=redis.Redis.from_url(redis_url),
        signer=signer,
        client=client,
    )
    if wait:
        await_ready(worker)
    return worker


def await_ready(worker: LiveWorker) -> None:
    def ready() -> bool:
        if worker.process.poll() is not None:
            message = f"the worker ended with {worker.process.returncode}:\n{worker.log.read_text()[-4000:]}"
            raise RuntimeError(message)
        record = worker.record()
        return record is not None and record.state == "ready"

    wait_until(ready, seconds=START_SECONDS, what="start of the worker")


def end(worker: LiveWorker) -> None:
    """Whatever state it is in: gone afterwards."""
    if worker.process.poll() is None:
        worker.process.send_signal(signal.SIGTERM)
        worker.process.send_signal(signal.SIGTERM)
        try:
            worker.process.wait(40)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
    worker.client.close()
    worker.redis.close()
