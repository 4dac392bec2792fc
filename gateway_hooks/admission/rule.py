"""The admission rule without Redis: what the Lua scripts must do, in a form that can be read and proved.

Sliding window: an entry of time t counts during [t, t + 60 s). So any half-open stretch of 60 s holds at
most the limit. All scopes or none; what is taken is the most output that fits every limit of every scope.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway_hooks.admission import checks
from gateway_hooks.admission.ask import Ask, Scope
from gateway_hooks.admission.checks import Check, Counters
from gateway_hooks.admission.decision import (
    MAX_END_USERS,
    NEVER,
    UNKNOWN_RETRY_MS,
    WINDOW_MS,
    BudgetPeriod,
    Verdict,
)
from gateway_hooks.contract.limits_view import Used
from gateway_hooks.contract.pricing import TOKENS_PER_PRICE_UNIT


class Hold(NamedTuple):
    spend_of: tuple[tuple[str, str], ...]
    micro: int


@dataclass
class AdmissionRule:
    """The counters of one tenant."""

    spend_known: bool = True
    max_end_users: int = MAX_END_USERS
    scopes: dict[str, Counters] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    end_users: dict[str, int] = field(default_factory=dict)

    def admit(self, ask: Ask, *, now_ms: int) -> Verdict:
        for scope in ask.scopes:
            self._of(scope).expire(now_ms)
        if ask.request_id in self.ended:
            return Verdict(refusal="limits_unavailable", retry_after_ms=NEVER, counters=self._counters(ask))
        granted = ask.max_output
        for index, scope in enumerate(ask.scopes):
            for check in self._checks(scope, ask, now_ms=now_ms):
                if check.room < ask.least_output:
                    return self._refused(ask, index, check)
                granted = min(granted, check.room)
        for scope in ask.scopes:
            self._take(scope, ask, granted, now_ms=now_ms)
        spend_of = tuple((scope.name, period) for scope in ask.scopes for period in _periods(ask, scope))
        self.holds[ask.request_id] = Hold(spend_of, ask.micro(granted))
        return Verdict(max_output=granted, micro=ask.micro(granted), counters=self._counters(ask))

    def finish(self, ask: Ask, *, tokens: int | None, micro: int | None) -> bool:
        """True if this is the request's first end; only that one counts."""
        if not self._end(ask):
            return False
        for scope in ask.scopes:
            counters = self._of(scope)
            if tokens is not None and ask.request_id in counters.tokens:
                counters.tokens[ask.request_id] = tokens
        if micro is not None:
            self.settle(ask.request_id, micro=micro)
        return True

    def cancel(self, ask: Ask) -> bool:
        if not self._end(ask):
            return False
        for scope in ask.scopes:
            self._of(scope).forget(ask.request_id)
        self.settle(ask.request_id, micro=0)
        return True

    def settle(self, request_id: str, *, micro: int) -> bool:
        hold = self.holds.pop(request_id, None)
        if hold is None:
            return False
        for name, period in hold.spend_of:
            self.scopes[name].spend[period] += micro - hold.micro
        return True

    def renew(self, ask: Ask, *, now_ms: int) -> int:
        renewed = 0
        for scope in ask.scopes:
            leases = self._of(scope).leases
            if scope.keeps_leases and leases.get(ask.request_id, 0) > now_ms:
                leases[ask.request_id] = now_ms + ask.lease_ms
                renewed += 1
        return renewed

    def count_late(self, ask: Ask, *, tokens: int, now_ms: int) -> int:
        counted, at = 0, min(ask.at_ms, now_ms)
        for scope in ask.scopes:
            counters = self._of(scope)
            if scope.keeps_window and at > now_ms - WINDOW_MS and ask.request_id not in counters.window:
                counters.window[ask.request_id] = at
                if scope.keeps_tokens:
                    counters.tokens[ask.request_id] = tokens
                counted += 1
        return counted

    def _of(self, scope: Scope) -> Counters:
        return self.scopes.setdefault(scope.name, Counters())

    def _counters(self, ask: Ask) -> tuple[Used, ...]:
        return tuple(self._of(scope).used(scope, ask) for scope in ask.scopes)

    def _end(self, ask: Ask) -> bool:
        if ask.request_id in self.ended:
            return False
        self.ended.add(ask.request_id)
        for scope in ask.scopes:
            self._of(scope).give_back_lease(ask.request_id)
        return True

    def _refused(self, ask: Ask, index: int, check: Check) -> Verdict:
        return Verdict(
            refusal=check.refusal,
            scope=index,
            period=check.period,
            limit=check.limit,
            used=check.used,
            asked=check.asked,
            retry_after_ms=check.retry_after_ms,
            counters=self._counters(ask),
        )

    def _checks(self, scope: Scope, ask: Ask, *, now_ms: int) -> Iterator[Check]:
        """In the order in which they refuse."""
        counters = self._of(scope)
        used = counters.used(scope, ask)
        yield from checks.context(scope, ask)
        yield from checks.requests(scope, counters, now_ms)
        yield from checks.tokens(scope, ask, counters, now_ms)
        yield from checks.concurrency(scope, used)
        yield from checks.kv(scope, ask, used)
        daily, monthly = scope.limits.daily_spend_micro, scope.limits.monthly_spend_micro
        if daily is not None:
            yield self._money(scope, ask, "day", daily, used.daily_micro)
        if monthly is not None:
            yield self._money(scope, ask, "month", monthly, used.monthly_micro)

    def _money(self, scope: Scope, ask: Ask, period: BudgetPeriod, limit: int, used: int) -> Check:
        asked = ask.micro(ask.least_output)
        name = ask.day.name if period == "day" else ask.month.name
        if not self.spend_known:
            return Check(-1, "limits_unavailable", period, limit, used, asked, UNKNOWN_RETRY_MS)
        if self._is_new_user(scope, name) and self.end_users.get(name, 0) >= self.max_end_users:
            return Check(-1, "limits_unavailable", period, limit, used, asked, NEVER)
        left = (limit - used) * TOKENS_PER_PRICE_UNIT - ask.input_micro * ask.prompt_tokens
        each = ask.output_micro * ask.choices
        room = left // each if each else (ask.max_output if left >= 0 else -1)
        return Check(room, "budget_exhausted", period, limit, used, asked, NEVER)

    def _is_new_user(self, scope: Scope, period: str) -> bool:
        return scope.is_user and period not in self._of(scope).spend

    def _take(self, scope: Scope, ask: Ask, output: int, *, now_ms: int) -> None:
        counters = self._of(scope)
        if scope.keeps_window:
            counters.window[ask.request_id] = now_ms
        if scope.keeps_tokens:
            counters.tokens[ask.request_id] = ask.tokens(output)
        if scope.keeps_leases:
            counters.leases[ask.request_id] = now_ms + ask.lease_ms
        if scope.keeps_kv:
            counters.kv[ask.request_id] = ask.kv_bytes(output)
        for period in _periods(ask, scope):
            if self._is_new_user(scope, period):
                self.end_users[period] = self.end_users.get(period, 0) + 1
            counters.spend[period] = counters.spend.get(period, 0) + ask.micro(output)


def _periods(ask: Ask, scope: Scope) -> Iterator[str]:
    if scope.keeps_day:
        yield ask.day.name
    if scope.keeps_month:
        yield ask.month.name
