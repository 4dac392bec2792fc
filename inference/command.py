"""The vLLM command line and environment of a pool's worker: pure functions."""

import sys
from collections.abc import Mapping
from pathlib import Path

from gateway_hooks.contract.snapshot import Pool
from inference.boot import BOOT_VARIABLE

GIB = 1 << 30
SOURCE_ROOT = Path(__file__).resolve().parent.parent
_SERVER = "inference.vllm_adapter.server"
_SCHEDULER = "inference.vllm_adapter.scheduler.MeteringScheduler"
_DOOR = "inference.vllm_adapter.middleware.DoorMiddleware"

# What vLLM's processes may inherit. Passwords of databases, Redis and the console are not theirs.
_INHERITED = frozenset({
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "VIRTUAL_ENV",
    "TENANTRY_IDENTITY_KEYS", "TENANTRY_IDENTITY_KEYS_FILE",
})  # fmt: skip
_INHERITED_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "LD_", "OMP_", "VLLM_", "HF_", "TORCH", "XDG_")
# What a download needs on top.
_TO_DOWNLOAD = frozenset({
    "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy",
    "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "TRANSFORMERS_OFFLINE",
})  # fmt: skip
# Where these are set, vLLM opens routes or writes prompts to logs.
_NEVER = frozenset({
    "VLLM_SERVER_DEV_MODE", "VLLM_DEBUG_LOG_API_SERVER_RESPONSE", "VLLM_LOGGING_LEVEL", "VLLM_API_KEY",
    "VLLM_SKIP_MODEL_NAME_VALIDATION", "VLLM_LORA_RESOLVER_CACHE_DIR", "VLLM_LORA_RESOLVER_HF_REPO_LIST",
})  # fmt: skip


def vllm_command(pool: Pool, *, host: str, port: int, device: str, shutdown_seconds: int) -> list[str]:
    """Everything about how a pool is served; no secret, because anybody may read a command line."""
    command = [
        *(sys.executable, "-m", _SERVER),
        *("--host", host, "--port", str(port)),
        *("--model", pool.model, "--served-model-name", pool.base_model),
        *("--max-model-len", str(pool.max_model_len)),
        *("--max-num-seqs", str(pool.max_num_seqs)),
        *("--max-num-batched-tokens", str(pool.max_num_batched_tokens)),
        *("--scheduler-cls", _SCHEDULER),
        *("--middleware", _DOOR),
        *("--shutdown-timeout", str(shutdown_seconds)),
        "--enable-prompt-tokens-details",
        "--disable-fastapi-docs",
        "--disable-uvicorn-access-log",
        "--no-enable-log-requests",
        "--no-enable-log-outputs",
    ]
    if pool.max_loras:
        command += ["--enable-lora", "--max-loras", str(pool.max_loras)]
        command += ["--max-cpu-loras", str(max(pool.max_cpu_loras, pool.max_loras))]
        command += ["--max-lora-rank", str(pool.max_lora_rank)]
    if pool.enforce_eager:
        command.append("--enforce-eager")
    if device != "cpu" and pool.kv_cache_gib:
        command += ["--kv-cache-memory-bytes", str(pool.kv_cache_gib * GIB)]
    return command


def vllm_environment(
    pool: Pool, inherited: Mapping[str, str], *, boot_file: Path, local_model: bool
) -> dict[str, str]:
    """Silent towards others, and with our source on the path: nothing of us is installed.

    ``local_model``: the pool's model is a folder of this host, so vLLM is kept off the model hub. Else it
    may download, with the caller's HF_* settings and proxies.
    """
    wanted = _INHERITED if local_model else _INHERITED | _TO_DOWNLOAD
    kept = {
        name: value
        for name, value in inherited.items()
        if (name in wanted or name.startswith(_INHERITED_PREFIXES)) and name not in _NEVER
    }
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if local_model else {}
    path = [str(SOURCE_ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    return {
        **kept,
        **offline,
        BOOT_VARIABLE: str(boot_file),
        "PYTHONPATH": ":".join(path),
        "PYTHONUNBUFFERED": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # Adapters are resolved on demand; the routes that this opens too are behind the door.
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        # No third-party plugins: they would fail open, and one of them resolves adapters by path.
        "VLLM_PLUGINS": "",
        # Longer than any gateway keeps an idle connection: the side that sends must be the one to close,
        # or a request meets a connection that is just being closed.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "300",
        "VLLM_CPU_KVCACHE_SPACE": str(pool.kv_cache_gib),
    }
