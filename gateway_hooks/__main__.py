"""``python -m gateway_hooks --host 127.0.0.1 --port 4000 [--processes K]``: serve."""

import argparse
import os
import socket
import sys

import uvicorn

from gateway_hooks.errors import SettingsError
from gateway_hooks.settings import Settings

_BACKLOG = 2048
_GRACE_SECONDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="gateway_hooks", description="Tenantry's gateway around LiteLLM.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    os.environ.setdefault("TENANTRY_GATEWAY_URL", f"http://{arguments.host}:{arguments.port}")
    try:
        Settings.from_environment(os.environ)
        _port_is_free(arguments.host, arguments.port)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 2
    uvicorn.run(
        "gateway_hooks.asgi:create_app",
        factory=True,
        host=arguments.host,
        port=arguments.port,
        workers=arguments.processes,
        log_level="warning",
        access_log=False,
        server_header=False,
        # uvicorn would believe X-Forwarded-For of anybody on this machine; we look for ourselves.
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return 0


def _port_is_free(host: str, port: int) -> None:
    """Raises ``OSError`` with a text that says what to do."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            message = (
                f"port {port} of {host} is taken or not ours; choose another with --port ({error.strerror})"
            )
            raise OSError(message) from error


if __name__ == "__main__":
    sys.exit(main())
