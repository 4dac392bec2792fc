"""One start of one worker: what the launcher tells vLLM's processes about it.

The launcher writes a ``Boot`` as JSON and names the file in one environment variable, so that the API
server and EngineCore read one typed object instead of a dozen variables. No secret is in it.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from gateway_hooks.contract.snapshot import Pool
from inference.errors import InferenceError

BOOT_VARIABLE = "TENANTRY_WORKER_BOOT"
_NS_PER_US = 1_000


class BootError(InferenceError):
    """vLLM was started without its launcher."""

    code = "boot_missing"


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """``started_wall_ns`` and ``started_mono_ns`` are the same moment on two clocks.

    CLOCK_MONOTONIC is one for all processes of a host, so every time of this boot is the wall start plus
    monotonic progress: it never jumps, and stretches of time touch.
    """

    worker_id: str
    boot_id: str
    pool: Pool
    started_wall_ns: int
    started_mono_ns: int
    folder: str
    outbox: str
    adapter_store: str
    interval_seconds: float
    outbox_max_bytes: int
    max_body_bytes: int

    def wall(self, mono_ns: int) -> datetime:
        """UTC at ``mono_ns``, cut to whole microseconds."""
        wall_ns = self.started_wall_ns + mono_ns - self.started_mono_ns
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=wall_ns // _NS_PER_US)

    @property
    def file(self) -> Path:
        return Path(self.folder) / "boot.json"

    @property
    def ready_file(self) -> Path:
        """Exists as soon as the launcher found the worker ready."""
        return Path(self.folder) / "ready"

    @property
    def engine_file(self) -> Path:
        """``EngineFacts``, written by EngineCore."""
        return Path(self.folder) / "engine.json"

    @property
    def adapters(self) -> Path:
        """The worker's own verified copies, so that nobody can change or remove what the engine uses."""
        return Path(self.folder) / "adapters"


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What only EngineCore knows."""

    kv_cache_tokens: int | None
    vllm_version: str


def write_atomically(path: Path, content: bytes) -> None:
    """Readers see the old content or the new one, never half of it; it survives a power cut."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_boot(environment: Mapping[str, str]) -> Boot:
    """The boot this process belongs to; ``BootError`` outside of a launcher."""
    path = environment.get(BOOT_VARIABLE)
    if not path:
        message = f"{BOOT_VARIABLE} is not set: start workers with `python -m inference serve`"
        raise BootError(message)
    return msgspec.json.decode(Path(path).read_bytes(), type=Boot)
