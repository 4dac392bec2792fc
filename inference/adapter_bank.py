"""Adapters this worker may load: verified, and copied to where nobody else can change or remove them.

An engine that finds the files of an evicted adapter gone dies with all its tenants, so the engine only
ever reads the worker's own copy, which stays as long as the boot. The digest is taken of that copy.
"""

import json
import shutil
import struct
import threading
from pathlib import Path
from typing import Any

from gateway_hooks.contract.artifacts import (
    CONFIG_FILE,
    FILES,
    WEIGHTS_FILE,
    artifact_digest,
    artifact_folder,
)
from gateway_hooks.contract.snapshot import Pool
from inference.errors import InferenceError

_LENGTH = struct.Struct("<Q")
_MAX_HEADER_BYTES = 16 << 20


class AdapterError(InferenceError):
    """The adapter cannot be loaded. ``status`` is the HTTP status that says so."""

    code = "adapter_invalid"

    def __init__(self, message: str, *, code: str, status: int = 422) -> None:
        super().__init__(message, code=code)
        self.status = status


class AdapterBank:
    """``store`` is the portal's, read-only; ``folder`` is this boot's own. Thread-safe."""

    def __init__(self, *, store: Path, folder: Path, pool: Pool) -> None:
        self._store = store
        self._folder = folder
        self._pool = pool
        self._lock = threading.Lock()
        self._verified: dict[str, Path] = {}

    def get(self, digest: str) -> Path | None:
        """The verified copy, if ``ensure`` made one in this boot."""
        return self._verified.get(digest)

    def ensure(self, digest: str) -> Path:
        """The worker's verified copy of an artifact. Reads and hashes files: not for an event loop.

        Raises ``AdapterError``; nothing is remembered of a failure, so a repaired store heals it.
        """
        with self._lock:
            if digest not in self._verified:
                self._verified[digest] = self._fetch(digest)
            return self._verified[digest]

    def _fetch(self, digest: str) -> Path:
        source = _source(self._store, digest)
        target = self._folder / digest
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        try:
            for name in FILES:
                shutil.copyfile(source / name, target / name)
            check_digest(target, digest)
            check_adapter(target, self._pool)
        except OSError as error:
            shutil.rmtree(target, ignore_errors=True)
            message = "the adapter is not in the store"
            raise AdapterError(message, code="adapter_not_found", status=404) from error
        except AdapterError:
            shutil.rmtree(target, ignore_errors=True)
            raise
        return target


def _source(store: Path, digest: str) -> Path:
    try:
        return artifact_folder(store, digest)
    except ValueError as error:
        message = "not an adapter digest"
        raise AdapterError(message, code="adapter_not_found", status=404) from error


def check_digest(folder: Path, digest: str) -> None:
    if artifact_digest(folder) != digest:
        message = "the stored adapter differs from what was verified"
        raise AdapterError(message, code="adapter_digest_mismatch")


def check_adapter(folder: Path, pool: Pool) -> None:
    """Refuse what would fail, or worse, inside the engine."""
    config = _config(folder / CONFIG_FILE)
    rank = config.get("r")
    if config.get("peft_type") != "LORA" or not isinstance(rank, int) or rank < 1:
        message = "not a LoRA adapter"
        raise AdapterError(message, code="adapter_config_invalid")
    if rank > pool.max_lora_rank:
        message = f"rank {rank} is more than the pool's {pool.max_lora_rank}"
        raise AdapterError(message, code="adapter_rank_too_high")
    if config.get("base_model_name_or_path") not in (pool.base_model, pool.model):
        message = "the adapter was trained for another base model"
        raise AdapterError(message, code="adapter_wrong_base")
    _check_weights(folder / WEIGHTS_FILE, max_rank=pool.max_lora_rank)


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        message = "adapter_config.json is not JSON"
        raise AdapterError(message, code="adapter_config_invalid") from error
    if not isinstance(config, dict):
        message = "adapter_config.json is not an object"
        raise AdapterError(message, code="adapter_config_invalid")
    return config


def _check_weights(path: Path, *, max_rank: int) -> None:
    """The file is safetensors, complete, and its tensors are LoRA pairs within the rank.

    Layout: 8 bytes little-endian length, a JSON header of that length, then the tensors.
    https://github.com/huggingface/safetensors
    """
    try:
        length, header = _read_header(path)
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max(entry["data_offsets"][1] for entry in tensors.values())
        complete = path.stat().st_size == _LENGTH.size + length + end
        ranks = {entry["shape"][0] for name, entry in tensors.items() if ".lora_A." in name}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        message = "adapter_model.safetensors is not a safetensors file"
        raise AdapterError(message, code="adapter_weights_invalid") from error
    if not complete or not ranks:
        message = "adapter_model.safetensors is incomplete"
        raise AdapterError(message, code="adapter_weights_invalid")
    if max(ranks) > max_rank:
        message = f"the weights' rank {max(ranks)} is more than the pool's {max_rank}"
        raise AdapterError(message, code="adapter_rank_too_high")


def _read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """(the header's length, the header), or ``struct.error`` or ``ValueError``."""
    with path.open("rb") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        if not 0 < length <= _MAX_HEADER_BYTES:
            message = "header length out of bounds"
            raise ValueError(message)
        header: dict[str, Any] = json.loads(file.read(length))
    return length, header
