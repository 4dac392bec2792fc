"""What happens to a request while Redis, and with it every counter, is away.

A spend limit never fails open: who has one at any scope, of a day or a month, is refused. A tenant whose
policy is ``allowance`` gets a small number of requests per minute and process. What ran uncounted is noted,
and counted in the windows that are still open when Redis is back. Its money is left to the ledger: the
usage event says what it cost, and the portal raises a counter to the ledger's sum, never adds to it. To add
it here as well could count it twice.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from redis.asyncio.client import Pipeline

from gateway_hooks.admission.ask import Ask
from gateway_hooks.admission.decision import NEVER, WINDOW_MS, Verdict
from gateway_hooks.admission.redis_ledger import AdmissionLedger
from gateway_hooks.contract.limits_view import Used
from gateway_hooks.contract.snapshot import Tenant

WINDOW_SECONDS = WINDOW_MS / 1000
RETRY_MS = 2000


class Uncounted(NamedTuple):
    """A request whose end Redis does not know, and what it used as far as known.

    It ran on the allowance, or Redis went away before it ended. ``cancel``: no worker got it.
    """

    ask: Ask
    tokens: int
    micro: int | None
    cancel: bool = False


class OutageAllowance:
    """Local sliding windows, by tenant; they hold no more entries than the allowance."""

    def __init__(self) -> None:
        self._admitted: dict[str, deque[float]] = {}
        self._uncounted: list[Uncounted] = []

    def admit(self, tenant: Tenant, ask: Ask, *, now: float) -> Verdict:
        """May it run uncounted? ``now`` is monotonic seconds."""
        room = _context_room(ask)
        if room < ask.least_output:
            return Verdict(refusal="context_cap", retry_after_ms=NEVER, counters=_nothing(ask))
        if tenant.outage_policy != "allowance" or _spend_limited(ask) or not self._take(tenant, now):
            return Verdict(refusal="limits_unavailable", retry_after_ms=RETRY_MS, counters=_nothing(ask))
        output = min(ask.max_output, room)
        return Verdict(max_output=output, micro=ask.micro(output), counters=_nothing(ask))

    def note(self, ask: Ask, *, tokens: int, micro: int | None, now_ms: int, cancel: bool = False) -> None:
        """A request has ended without Redis. Notes of windows that have closed are dropped."""
        self._uncounted = [one for one in self._uncounted if one.ask.at_ms > now_ms - WINDOW_MS]
        self._uncounted.append(Uncounted(ask, tokens, micro, cancel))

    def take_uncounted(self) -> list[Uncounted]:
        """What is to be settled; from now on it is the caller's."""
        taken, self._uncounted = self._uncounted, []
        return taken

    def put_back(self, uncounted: Iterable[Uncounted]) -> None:
        """Redis was away again."""
        self._uncounted = [*uncounted, *self._uncounted]

    def _take(self, tenant: Tenant, now: float) -> bool:
        window = self._admitted.setdefault(tenant.id, deque())
        while window and window[0] <= now - WINDOW_SECONDS:
            window.popleft()
        if len(window) >= tenant.outage_requests_per_minute:
            return False
        window.append(now)
        return True


async def settle_outage(ledger: AdmissionLedger, pipeline: Pipeline, uncounted: Iterable[Uncounted]) -> None:
    """Queue the ends, and the counts in windows that are still open; repeating it changes nothing.

    An admission whose answer was lost may have been counted after all: then its end settles it, money too,
    and there is nothing to count late. One that Redis has not even seen yet finds the end and is refused.
    """
    for one in uncounted:
        if one.cancel:
            await ledger.cancel(pipeline, one.ask)
            continue
        await ledger.finish(pipeline, one.ask, tokens=one.tokens, micro=one.micro)
        await ledger.count_late(pipeline, one.ask, tokens=one.tokens)


def _spend_limited(ask: Ask) -> bool:
    limits = [scope.limits for scope in ask.scopes]
    return any(one.daily_spend_micro is not None or one.monthly_spend_micro is not None for one in limits)


def _context_room(ask: Ask) -> int:
    caps = [one.limits.context_tokens for one in ask.scopes if one.limits.context_tokens is not None]
    return min(caps) - ask.prompt_tokens if caps else ask.max_output


def _nothing(ask: Ask) -> tuple[Used, ...]:
    return tuple(Used() for _ in ask.scopes)
