"""``python -m inference``: serve a pool, or ask a worker how it is."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence

from gateway_hooks.contract.errors import ContractError
from inference.errors import InferenceError
from inference.launcher import Launcher
from inference.probe import Probe
from inference.settings import read_settings

_ENVIRONMENT = """
environment (a secret X may also come from a file named by X_FILE):
  REDIS_URL                       where the snapshot comes from and usage events go to
  TENANTRY_IDENTITY_KEYS          kid:hex[,kid:hex...], shared with the gateways
  TENANTRY_DATA                   data folder (default: ./var)
  TENANTRY_ADAPTER_STORE          adapters by digest (default: $TENANTRY_DATA/adapters)
  TENANTRY_DEVICE                 cpu or cuda (default: cuda where there is one)
  TENANTRY_SNAPSHOT_WAIT_SECONDS  patience with an empty Redis at start (300)
  TENANTRY_WORKER_START_SECONDS   patience with vLLM at start (900)
  TENANTRY_WORKER_HANG_SECONDS    patience with a vLLM that was ready and is silent (30)
  TENANTRY_DRAIN_NOTICE_SECONDS   for gateways to notice that we drain (3)
  TENANTRY_DRAIN_LIMIT_SECONDS    for requests in flight to end (60)
  TENANTRY_INTERVAL_SECONDS       length of a metering interval (10)
  TENANTRY_OUTBOX_MAX_BYTES       usage events kept while Redis is away (1 GiB)
  TENANTRY_WORKER_MAX_BODY_BYTES  largest request body (16 MiB)
"""
_WORKER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def _worker_id(text: str) -> str:
    if not _WORKER_ID.fullmatch(text):
        message = "letters, digits, dots, dashes and underscores, at most 63"
        raise argparse.ArgumentTypeError(message)
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m inference", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="start a vLLM worker of a pool and keep it registered",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument("--pool", required=True, help="name or id of the pool in the console")
    serve.add_argument("--worker-id", required=True, type=_worker_id, help="one name, one running worker")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", required=True, type=int, help="port to listen on")
    serve.add_argument("--url", help="how gateways reach it (default: http://HOST:PORT)")
    health = commands.add_parser("health", help="ask a worker, signed; status 0 if it is healthy")
    health.add_argument("--url", required=True)
    health.add_argument("--worker-id", required=True, type=_worker_id)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per heartbeat helps nobody
    try:
        settings = read_settings(os.environ)
        if options.command == "health":
            probe = Probe(options.url, worker_id=options.worker_id, keyring=settings.keyring)
            return 0 if probe.healthy() else 1
        Launcher(
            settings,
            pool=options.pool,
            worker_id=options.worker_id,
            host=options.host,
            port=options.port,
            url=options.url,
        ).run()
    except (InferenceError, ContractError) as error:
        logging.getLogger("inference").error("%s: %s", error.code, error)  # noqa: TRY400 - the message says it
        return 0 if error.code == "stopped" else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
