"""LiteLLM's proxy application, imported late: it reads the environment and holds global state."""

import atexit
import logging
import os
from pathlib import Path
from typing import Any

from gateway_hooks.contract.identity import Keyring
from gateway_hooks.litellm_adapter.config import KEPT_SECONDS, enter_environment, write_config

_LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "litellm", "httpx", "httpcore", "openai", "aiohttp")


def load_app(*, keyring: Keyring, connect_seconds: float, folder: Path, name: str) -> Any:
    """The ASGI application, with our transport under every client that it will make."""
    enter_environment()
    silence()
    config = write_config(folder, name)
    os.environ["CONFIG_FILE_PATH"] = str(config)
    atexit.register(config.unlink, missing_ok=True)

    import httpx  # noqa: PLC0415 - after the environment is ours
    import litellm  # noqa: PLC0415
    from litellm.llms.custom_httpx import aiohttp_transport  # noqa: PLC0415
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler  # noqa: PLC0415
    from litellm.proxy import proxy_server  # noqa: PLC0415

    from gateway_hooks.litellm_adapter.transport import SigningTransport  # noqa: PLC0415

    SigningTransport.keyring = keyring
    SigningTransport.connect_seconds = connect_seconds
    # LiteLLM looks the class up here whenever it makes a client, so this is under all of them; the
    # OpenAI client that it uses for /v1/completions takes the global one.
    aiohttp_transport.LiteLLMAiohttpTransport = SigningTransport
    litellm.aclient_session = httpx.AsyncClient(
        transport=AsyncHTTPHandler.create_aiohttp_transport(), timeout=KEPT_SECONDS, trust_env=False
    )
    silence()
    return proxy_server.app


def silence() -> None:
    """LiteLLM's own lines may quote prompts and upstream texts: none of them is kept."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
