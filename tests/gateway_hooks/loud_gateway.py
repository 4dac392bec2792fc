"""The gateway with LiteLLM told to log all it can: ``python -m tests.gateway_hooks.loud_gateway --port N``.

Only the configuration that LiteLLM reads is another; whatever keeps texts out of logs is the product's own.
"""

import argparse
from typing import Any

import uvicorn

from gateway_hooks import asgi
from gateway_hooks.gateway.lifespan import Application
from gateway_hooks.litellm_adapter import config

_quiet_config, _quiet_environment = config.litellm_config, config.litellm_environment


def loud_config() -> dict[str, Any]:
    loud = _quiet_config()
    loud["litellm_settings"] |= {"turn_off_message_logging": False, "set_verbose": True, "json_logs": True}
    loud["general_settings"] |= {"disable_spend_logs": False, "disable_error_logs": False}
    return loud


def create_app() -> Application:
    config.litellm_config = loud_config
    config.litellm_environment = lambda: {**_quiet_environment(), "LITELLM_LOG": "DEBUG"}
    return asgi.create_app()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    uvicorn.run(
        "tests.gateway_hooks.loud_gateway:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
