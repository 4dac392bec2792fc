"""Who was refused a moment ago and would be refused again: told so before any work is done for it.

Masking and counting come before the limits, on a loop that all tenants share. A caller over its requests
per minute shall not make it busy.
"""

from typing import NamedTuple

import msgspec

from gateway_hooks.admission.ask import Ask
from gateway_hooks.admission.decision import Verdict

MAX_SECONDS = 1.0
"""So late a caller may hear that there is room again after all: a request given back leaves room early."""
MAX_CALLERS = 10_000

Who = tuple[str, str, str | None]
"""Tenant, key and end user."""


class Refused(NamedTuple):
    """``since`` and ``until`` are monotonic seconds."""

    ask: Ask
    verdict: Verdict
    since: float
    until: float


class RecentRefusals:
    """Of one process."""

    def __init__(self) -> None:
        self._refused: dict[Who, Refused] = {}

    def note(self, who: Who, ask: Ask, verdict: Verdict, *, now: float) -> None:
        """Only of requests per minute: other limits depend on what is asked."""
        if verdict.refusal != "rate_limit_requests" or verdict.retry_after_ms <= 0:
            return
        if len(self._refused) >= MAX_CALLERS:
            self._refused.clear()
        until = now + min(verdict.retry_after_ms / 1000, MAX_SECONDS)
        self._refused[who] = Refused(ask, verdict, now, until)

    def of(self, who: Who, *, now: float) -> Refused | None:
        """The refusal that still holds, with what is left of its wait."""
        refused = self._refused.get(who)
        if refused is None:
            return None
        if refused.until <= now:
            del self._refused[who]
            return None
        left = max(1, refused.verdict.retry_after_ms - round((now - refused.since) * 1000))
        return refused._replace(verdict=msgspec.structs.replace(refused.verdict, retry_after_ms=left))
