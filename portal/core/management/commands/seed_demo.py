"""``manage.py seed_demo --json PATH``: what a new installation starts with. Safe to run again."""

import json
import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from portal.core import clock
from portal.core.demo import seed
from portal.snapshots.services import redeliver


class Command(BaseCommand):
    help = "Make roles, an admin and two demo tenants, unless they are there; publish the configuration."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", metavar="PATH", help="write new logins and keys there, readable by you only"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        target: str | None = options["json"]
        now = clock.now()
        with transaction.atomic():
            made = seed(now).as_json()
            if target is not None:
                # Before the commit: a crash in between must not lose secrets that nobody else knows.
                write_private_json(Path(target), made)
        publication = redeliver(clock.now())
        self.stdout.write(
            f"configuration {publication.version} is "
            + ("with the gateways" if publication.delivered else "stored; it follows when Redis is back")
        )
        self.stdout.write("demo made" if made else "the demo was there already")


def write_private_json(path: Path, content: dict[str, Any]) -> None:
    """Replace ``path`` in one step by a file that only its owner may read."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    scratch.replace(path)
