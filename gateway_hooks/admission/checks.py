"""The counters of one scope, and how each kind of limit but money is met."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway_hooks.admission.ask import Ask, Scope
from gateway_hooks.admission.decision import (
    BUSY_RETRY_MS,
    NEVER,
    RETRY_ENTRIES,
    WINDOW_MS,
    BudgetPeriod,
    Refusal,
)
from gateway_hooks.contract.limits_view import Used


@dataclass
class Counters:
    """Of one scope. ``spend`` is by period; the rest by request id, with times in milliseconds."""

    window: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    kv: dict[str, int] = field(default_factory=dict)
    spend: dict[str, int] = field(default_factory=dict)

    def expire(self, now_ms: int) -> None:
        self.window = {name: at for name, at in self.window.items() if at > now_ms - WINDOW_MS}
        self.tokens = {name: amount for name, amount in self.tokens.items() if name in self.window}
        self.leases = {name: end for name, end in self.leases.items() if end > now_ms}
        self.kv = {name: amount for name, amount in self.kv.items() if name in self.leases}

    def used(self, scope: Scope, ask: Ask) -> Used:
        return Used(
            requests=len(self.window) if scope.keeps_window else 0,
            tokens=sum(self.tokens.values()) if scope.keeps_tokens else 0,
            concurrent=len(self.leases) if scope.keeps_leases else 0,
            kv_bytes=sum(self.kv.values()) if scope.keeps_kv else 0,
            daily_micro=self.spend.get(ask.day.name, 0) if scope.keeps_day else 0,
            monthly_micro=self.spend.get(ask.month.name, 0) if scope.keeps_month else 0,
        )

    def forget(self, request_id: str) -> None:
        self.window.pop(request_id, None)
        self.tokens.pop(request_id, None)

    def give_back_lease(self, request_id: str) -> None:
        self.leases.pop(request_id, None)
        self.kv.pop(request_id, None)


class Check(NamedTuple):
    """One limit met: output per choice that fits (below 0: not even the prompt), and the refusal if it is too
    little."""

    room: int
    refusal: Refusal
    period: BudgetPeriod
    limit: int
    used: int
    asked: int
    retry_after_ms: int


def context(scope: Scope, ask: Ask) -> Iterator[Check]:
    limit = scope.limits.context_tokens
    if limit is not None:
        asked = ask.prompt_tokens + ask.least_output
        yield Check(limit - ask.prompt_tokens, "context_cap", "", limit, 0, asked, NEVER)


def requests(scope: Scope, counters: Counters, now_ms: int) -> Iterator[Check]:
    limit, used = scope.limits.requests_per_minute, len(counters.window)
    if limit is not None and used >= limit:
        times = sorted(counters.window.values())
        retry = times[used - limit] + WINDOW_MS - now_ms if limit > 0 else NEVER
        yield Check(-1, "rate_limit_requests", "", limit, used, 1, retry)


def tokens(scope: Scope, ask: Ask, counters: Counters, now_ms: int) -> Iterator[Check]:
    limit, used = scope.limits.tokens_per_minute, sum(counters.tokens.values())
    if limit is None:
        return
    asked = ask.tokens(ask.least_output)
    room = (limit - used - ask.prompt_tokens) // ask.choices
    retry = NEVER
    if asked <= limit and room < ask.least_output:
        retry = _free_tokens(counters, used + asked - limit, now_ms)
    yield Check(room, "rate_limit_tokens", "", limit, used, asked, retry)


def _free_tokens(counters: Counters, needed: int, now_ms: int) -> int:
    """Milliseconds until so many tokens have left, or until the last entry that is looked at has."""
    freed = 0
    oldest = sorted((at, name) for name, at in counters.window.items())[:RETRY_ENTRIES]
    for at, name in oldest:
        freed += counters.tokens.get(name, 0)
        if freed >= needed:
            return at + WINDOW_MS - now_ms
    return oldest[-1][0] + WINDOW_MS - now_ms


def concurrency(scope: Scope, used: Used) -> Iterator[Check]:
    limit = scope.limits.concurrency
    if limit is not None and used.concurrent >= limit:
        yield Check(-1, "concurrency", "", limit, used.concurrent, 1, BUSY_RETRY_MS)


def kv(scope: Scope, ask: Ask, used: Used) -> Iterator[Check]:
    limit, each = scope.limits.kv_bytes, ask.kv_bytes_per_token
    if limit is None:
        return
    if each is None:
        yield Check(-1, "kv_budget", "", limit, used.kv_bytes, 0, NEVER)
        return
    asked = ask.kv_bytes(ask.least_output)
    room = ask.max_output
    if each > 0:
        room = ((limit - used.kv_bytes) // each - ask.prompt_tokens) // ask.choices
    yield Check(
        room, "kv_budget", "", limit, used.kv_bytes, asked, BUSY_RETRY_MS if asked <= limit else NEVER
    )
