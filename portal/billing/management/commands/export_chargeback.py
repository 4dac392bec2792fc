"""``manage.py export_chargeback 2026-11 --format focus-csv --out DIR``."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.billing.exports.services import FORMATS, build_export, write_export
from portal.billing.models import PeriodState
from portal.billing.periods import find_period
from portal.core.errors import PortalError


class Command(BaseCommand):
    help = "Write the chargeback of a billing period, with its metadata beside it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("month", help="YYYY-MM, in UTC")
        parser.add_argument("--format", required=True, choices=FORMATS)
        parser.add_argument("--out", required=True, type=Path, metavar="DIR")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            period = find_period(options["month"])
            data, metadata = write_export(build_export(period, options["format"]), options["out"])
        except PortalError as error:
            message = f"{error.code}: {error.message}"
            raise CommandError(message) from error
        if period.state != PeriodState.CLOSED:
            self.stderr.write(f"{period.month} is open: this export is provisional.")
        self.stdout.write(f"{data}\n{metadata}")
