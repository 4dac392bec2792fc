"""What uvicorn imports in every gateway process: ``gateway_hooks.asgi:create_app``."""

import logging
import os

from gateway_hooks.gateway.lifespan import Application
from gateway_hooks.gateway.services import Services
from gateway_hooks.litellm_adapter.app import load_app, started
from gateway_hooks.settings import Settings


def create_app() -> Application:
    """Reads the environment once; afterwards LiteLLM's import finds only what we put there."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings.from_environment(os.environ)
    inner = load_app(
        keyring=settings.keyring,
        connect_seconds=settings.connect_timeout.total_seconds(),
        folder=settings.data / "run",
        name=settings.gateway_id,
    )
    return Application(inner, lambda: Services(settings), inner_started=started)
