"""LiteLLM's configuration, made anew at every start: one model, no database, nothing of its own policy."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODEL = "tenantry"
"""LiteLLM's only model. Which worker and adapter a request really goes to is put in by the transport."""

UPSTREAM = "http://worker.invalid/v1"
"""A name that never resolves: if the transport did not redirect a call, the call would go nowhere."""

KEPT_SECONDS = 24 * 3600
"""LiteLLM's own time limits are out of the way: the tenant's limit is the wrapper's."""

_REMOVED_PREFIXES = ("LITELLM_", "REDIS_", "OPENAI_", "ANTHROPIC_", "HOSTED_VLLM_", "LANGFUSE_", "OTEL_")
_REMOVED = ("DATABASE_URL", "DIRECT_URL", "WORKER_CONFIG", "STORE_MODEL_IN_DB", "USE_PRISMA_MIGRATE")


def litellm_environment() -> Mapping[str, str]:
    """What LiteLLM reads at import: fetch nothing, report nothing, show nothing, keep quiet."""
    return {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_TELEMETRY": "False",
        "DISABLE_ADMIN_UI": "True",
        "NO_DOCS": "True",
        "NO_REDOC": "True",
        "NO_OPENAPI": "True",
        # vLLM's server closes idle connections after 5 s; ours must be gone before.
        "AIOHTTP_KEEPALIVE_TIMEOUT": "4",
        "DISABLE_AIOHTTP_TRUST_ENV": "True",
    }


def enter_environment() -> None:
    """Replace what the environment would tell LiteLLM. Our own settings were read before."""
    for name in list(os.environ):
        if name in _REMOVED or name.startswith(_REMOVED_PREFIXES):
            del os.environ[name]
    os.environ.update(litellm_environment())


def litellm_config() -> dict[str, Any]:
    """As LiteLLM's YAML would say it. The master key is random and known to nobody."""
    return {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"hosted_vllm/{MODEL}",
                    "api_base": UPSTREAM,
                    "api_key": "unused",
                    "max_retries": 0,
                    "timeout": KEPT_SECONDS,
                    "stream_timeout": KEPT_SECONDS,
                    "input_cost_per_token": 0.0,
                    "output_cost_per_token": 0.0,
                },
            }
        ],
        "router_settings": {
            "num_retries": 0,
            "disable_cooldowns": True,
            "routing_strategy": "simple-shuffle",
        },
        "litellm_settings": {
            "num_retries": 0,
            "request_timeout": KEPT_SECONDS,
            "telemetry": False,
            "drop_params": False,
            "turn_off_message_logging": True,
            "callbacks": ["gateway_hooks.litellm_adapter.hooks.hooks"],
        },
        "general_settings": {
            "master_key": "sk-" + secrets.token_hex(32),
            "custom_auth": "gateway_hooks.litellm_adapter.hooks.authenticate",
            "disable_spend_logs": True,
            "disable_error_logs": True,
            "allow_requests_on_db_unavailable": False,
        },
    }


def write_config(folder: Path, name: str) -> Path:
    """The file that ``CONFIG_FILE_PATH`` names; JSON is YAML. It holds the random key: owner only."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"litellm-{name}.yaml"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(litellm_config(), file)
    return path
