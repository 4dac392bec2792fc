"""The records by which workers and gateways make themselves known in Redis."""

from datetime import datetime
from typing import Literal

import msgspec

WorkerState = Literal["starting", "ready", "draining"]


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A vLLM worker, refreshed by its launcher. ``url`` has no path; ``adapters`` are resident digests."""

    id: str
    boot_id: str
    pool_id: str
    url: str
    state: WorkerState
    base_model: str
    device: str
    max_num_seqs: int
    kv_cache_tokens: int | None
    vllm_version: str
    started_at: datetime
    seen_at: datetime
    adapters: tuple[str, ...] = ()
    outbox_bytes: int = 0
    schema_version: int = 1


class OpenBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway process does not send to a worker just now, but for a probe while half open.

    Without a tenant it is the way to the worker itself; else what this tenant asks of this adapter there, or
    of the base model where there is no digest.
    """

    worker_id: str
    since: datetime
    adapter_digest: str | None = None
    tenant_id: str = ""
    half_open: bool = False


class GatewayRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway process: the configuration it serves and since when, and whom it does not ask.

    ``unhealthy`` are workers that do not answer its health checks.
    """

    id: str
    host: str
    pid: int
    url: str
    snapshot_version: int
    snapshot_loaded_at: datetime | None
    snapshot_source: Literal["redis", "disk", "none"]
    started_at: datetime
    seen_at: datetime
    spooled_events: int = 0
    breakers: tuple[OpenBreaker, ...] = ()
    unhealthy: tuple[str, ...] = ()
    schema_version: int = 2


def encode_record(record: WorkerRecord | GatewayRecord) -> bytes:
    return msgspec.json.encode(record)


def decode_worker(raw: bytes) -> WorkerRecord:
    return msgspec.json.decode(raw, type=WorkerRecord)


def decode_gateway(raw: bytes) -> GatewayRecord:
    return msgspec.json.decode(raw, type=GatewayRecord)
