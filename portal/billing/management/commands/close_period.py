"""``manage.py close_period 2026-11``: takes in what is there, waits for half-known requests, freezes."""

import threading
import time
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.billing import closing
from portal.billing.models import BillingPeriod
from portal.billing.periods import find_period, open_period
from portal.billing.shipping import not_shipped
from portal.core import clock
from portal.core.errors import PortalError
from portal.core.redis import REDIS_AWAY
from portal.core.words import count

POLL_SECONDS = 0.5


class Command(BaseCommand):
    help = "Reconcile a billing period and freeze it for ever."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("month", help="YYYY-MM, in UTC")
        parser.add_argument(
            "--accept",
            action="append",
            default=[],
            metavar="CODE",
            help="close although this finding stands against it; may be repeated",
        )
        parser.add_argument(
            "--wait",
            type=float,
            default=15,
            metavar="SECONDS",
            help="how long to wait for half-known requests and for usage that is elsewhere",
        )
        parser.add_argument("--user", metavar="NAME", help="the user who closes, for the record")

    def handle(self, *_args: Any, **options: Any) -> None:
        month: str = options["month"]
        try:
            user = _user(options["user"])
            self._drain()
            period = _period(month)
            self._wait(period, options["wait"], accept=options["accept"])
            now = clock.now()
            closed = closing.close_period(month, user=user, now=now, accept=options["accept"])
        except closing.CloseRefusedError as error:
            codes = " ".join(f"--accept {one.code}" for one in error.findings if one.weight == "accept")
            hint = f"\nTo close all the same: close_period {month} {codes}" if codes else ""
            message = f"{error.message}{hint}"
            raise CommandError(message) from error
        except PortalError as error:
            message = f"{error.code}: {error.message}"
            raise CommandError(message) from error
        self._tell(closed)

    def _drain(self) -> None:
        try:
            ingested, rated = closing.drain(clock.now())
        except REDIS_AWAY as error:
            self.stderr.write(f"Redis cannot be reached, nothing was taken in: {error}")
            return
        self.stdout.write(
            f"Taken in: {ingested.taken} events ({ingested.new} new, {ingested.parked} parked). "
            f"Rated: {rated.entries} requests."
        )

    def _wait(self, period: BillingPeriod, seconds: float, *, accept: list[str]) -> None:
        """Until all of the period's usage is here, or the time is up; says what is awaited."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        told = None
        while (left := _awaited(period, accept)) and time.monotonic() < deadline:
            if left != told:
                self.stdout.write(f"Waiting for {left} …")
                told = left
            pause.wait(POLL_SECONDS)
            try:
                closing.drain(clock.now())
            except REDIS_AWAY:
                return

    def _tell(self, period: BillingPeriod) -> None:
        totals = period.totals
        charge = (
            ", ".join(f"{amount} {currency}" for currency, amount in totals["charge"].items()) or "nothing"
        )
        bills = ", ".join(f"{amount} {currency}" for currency, amount in totals["bills"].items()) or "nothing"
        self.stdout.write(f"{period.month} is closed: {count(totals['requests'], 'request')}.")
        self.stdout.write(f"Charged {charge}; the workers cost {bills}.")
        for finding in totals["findings"]:
            self.stdout.write(f"Noted {finding['code']}: {finding['message']}")
        self.stdout.write(totals["statement"])


def _awaited(period: BillingPeriod, accept: list[str]) -> str:
    """What is still missing and was not accepted to be missing, in words."""
    half = 0 if "requests_waiting" in accept else closing.half_known(period)
    if half:
        return f"the second event of {count(half, 'request')}"
    elsewhere = [] if "events_not_shipped" in accept else not_shipped(period, now=clock.now())
    return f"usage that is elsewhere: {'; '.join(elsewhere)}" if elsewhere else ""


def _period(month: str) -> BillingPeriod:
    """The running month has its period even before its first request."""
    now = clock.now()
    return open_period(month) if month == f"{now:%Y-%m}" else find_period(month)


def _user(name: str | None) -> AbstractBaseUser | None:
    if name is None:
        return None
    user = get_user_model().objects.filter(username=name).first()
    if user is None:
        message = f"user_unknown: there is no user {name!r}."
        raise CommandError(message)
    return user
