"""LiteLLM's proxy application, imported late: it reads the environment and holds global state."""

import atexit
import gc
import logging
import os
from pathlib import Path
from typing import Any

from gateway_hooks.contract.identity import Keyring
from gateway_hooks.litellm_adapter.config import KEPT_SECONDS, enter_environment, write_config

_LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "litellm", "httpx", "httpcore", "openai", "aiohttp")


_NEVER = logging.CRITICAL + 1


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
    from gateway_hooks.litellm_adapter.trim import trim  # noqa: PLC0415

    SigningTransport.keyring = keyring
    SigningTransport.connect_seconds = connect_seconds
    # LiteLLM looks the class up here whenever it makes a client, so this is under all of them; the
    # OpenAI client that it uses for /v1/completions takes the global one.
    aiohttp_transport.LiteLLMAiohttpTransport = SigningTransport
    litellm.aclient_session = httpx.AsyncClient(
        transport=AsyncHTTPHandler.create_aiohttp_transport(), timeout=KEPT_SECONDS, trust_env=False
    )
    trim(proxy_server.app)
    silence()
    return proxy_server.app


async def started(app: Any) -> None:
    """After LiteLLM's own start: it has read its configuration and registered what it likes."""
    import litellm  # noqa: PLC0415 - after the environment is ours

    from gateway_hooks.litellm_adapter.hooks import hooks  # noqa: PLC0415 - after the environment is ours
    from gateway_hooks.litellm_adapter.rehearsal import rehearse  # noqa: PLC0415
    from gateway_hooks.litellm_adapter.trim import only_hook  # noqa: PLC0415

    _forget_config()
    only_hook(hooks)
    # With it LiteLLM prints what it sends, past every logger.
    litellm.set_verbose = False
    silence()
    await rehearse(app)
    # What the imports left behind lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()


def _forget_config() -> None:
    """It held the master key, and is not read again."""
    Path(os.environ["CONFIG_FILE_PATH"]).unlink(missing_ok=True)


def silence() -> None:
    """LiteLLM's own lines may quote prompts and upstream texts: none of them is kept."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        logger.setLevel(_NEVER)
        logger.disabled = True
