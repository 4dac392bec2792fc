"""``manage.py up``: the whole product with one command."""

import logging
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.ops.errors import OpsError
from portal.ops.plan import Options
from portal.ops.session import run
from portal.ops.terminal import Terminal

DEFAULT_PORTS = {"portal": 8000, "gateway": 4000, "worker": 8100}


class Command(BaseCommand):
    help = (
        "Start PostgreSQL and Redis (unless DATABASE_URL and REDIS_URL name real ones), portal, Celery, "
        "gateway and one vLLM worker; keep them up until Ctrl-C. Each option X-Y may also be set by the "
        "environment variable TENANTRY_X_Y."
    )
    # The settings are read before there is a database; ``up`` runs the commands that need one itself.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        env = os.environ
        parser.add_argument("--data", type=Path, default=settings.DATA_DIR, help="data folder (%(default)s)")
        parser.add_argument(
            "--host", default=env.get("TENANTRY_HOST", "127.0.0.1"), help="address to listen on"
        )
        for name, default in DEFAULT_PORTS.items():
            value = env.get(f"TENANTRY_{name.upper()}_PORT", default)
            parser.add_argument(f"--{name}-port", type=int, default=value, help="(%(default)s)")
        for name in ("postgres", "redis"):
            known = env.get(f"TENANTRY_{name.upper()}_PORT")
            parser.add_argument(f"--{name}-port", type=int, default=known, help="(any free one)")
        parser.add_argument(
            "--json", type=Path, dest="json_file", metavar="FILE", help="write URLs, keys, pids"
        )
        parser.add_argument("--no-demo", action="store_false", dest="demo", help="start without demo tenants")

    def handle(self, *_args: Any, **options: Any) -> None:
        logging.getLogger("httpx").setLevel(logging.WARNING)  # one line per probe would bury the progress
        chosen = {name: options[name] for name in Options.__dataclass_fields__}
        try:
            run(Options(**chosen), Terminal(self.stdout), os.environ)  # type: ignore[arg-type]
        except OpsError as error:
            message = f"{error} [{error.code}]"
            raise CommandError(message) from error
