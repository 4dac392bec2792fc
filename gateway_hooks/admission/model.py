"""The admission rule without Redis: what the Lua script must do, in a form that can be read and proved.

Sliding window: an entry of time t counts during [t, t + 60 s). So any half-open stretch of 60 s holds at
most the limit.
"""

from dataclasses import dataclass, field

from gateway_hooks.admission.verdict import (
    NEVER,
    UNKNOWN_RETRY_MS,
    WINDOW_MS,
    Ask,
    Refusal,
    Scope,
    Used,
    Verdict,
)


@dataclass
class _Counters:
    requests: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    spend: dict[str, int] = field(default_factory=dict)

    def expire(self, now_ms: int) -> None:
        start = now_ms - WINDOW_MS
        self.requests = {name: at for name, at in self.requests.items() if at > start}
        self.tokens = {name: entry for name, entry in self.tokens.items() if entry[0] > start}
        self.leases = {name: end for name, end in self.leases.items() if end > now_ms}

    def used(self, month: str) -> Used:
        return Used(
            requests=len(self.requests),
            tokens=sum(amount for _, amount in self.tokens.values()),
            concurrent=len(self.leases),
            spend_micro=self.spend.get(month, 0),
        )


@dataclass
class AdmissionModel:
    """The counters of one tenant."""

    scopes: dict[str, _Counters] = field(default_factory=dict)
    holds: dict[str, tuple[tuple[str, ...], str, int]] = field(default_factory=dict)
    spend_known: bool = True

    def admit(self, ask: Ask, *, now_ms: int) -> Verdict:
        for scope in ask.scopes:
            self._counters(scope.name).expire(now_ms)
        for index, scope in enumerate(ask.scopes):
            refusal = self._refusal(scope, ask, now_ms=now_ms)
            if refusal is not None:
                code, retry_after_ms = refusal
                return Verdict(refusal=code, scope=index, retry_after_ms=retry_after_ms, used=self._used(ask))
        for scope in ask.scopes:
            self._take(self._counters(scope.name), ask, now_ms=now_ms)
        self.holds[ask.request_id] = (tuple(s.name for s in ask.scopes), ask.month, ask.micro)
        return Verdict(refusal=None, scope=0, retry_after_ms=0, used=self._used(ask))

    def release(self, request_id: str, *, tokens: int | None) -> None:
        """End the lease; with ``tokens`` the reservation becomes what was used."""
        for counters in self.scopes.values():
            counters.leases.pop(request_id, None)
            entry = counters.tokens.get(request_id)
            if tokens is not None and entry is not None:
                counters.tokens[request_id] = (entry[0], tokens)

    def settle(self, request_id: str, *, micro: int) -> bool:
        hold = self.holds.pop(request_id, None)
        if hold is None:
            return False
        names, month, held = hold
        for name in names:
            self.scopes[name].spend[month] += micro - held
        return True

    def _counters(self, name: str) -> _Counters:
        return self.scopes.setdefault(name, _Counters())

    def _used(self, ask: Ask) -> tuple[Used, ...]:
        return tuple(self._counters(scope.name).used(ask.month) for scope in ask.scopes)

    def _refusal(self, scope: Scope, ask: Ask, *, now_ms: int) -> tuple[Refusal, int] | None:
        counters, limits = self._counters(scope.name), scope.limits
        used = counters.used(ask.month)
        if limits.requests_per_minute is not None and used.requests >= limits.requests_per_minute:
            return "rate_limit_requests", _free_requests(counters, limits.requests_per_minute, now_ms)
        if limits.tokens_per_minute is not None and used.tokens + ask.tokens > limits.tokens_per_minute:
            room_needed = used.tokens + ask.tokens - limits.tokens_per_minute
            return "rate_limit_tokens", _free_tokens(counters, room_needed, now_ms)
        if limits.concurrency is not None and used.concurrent >= limits.concurrency:
            return "concurrency", 1000
        if limits.monthly_spend_micro is not None and not self.spend_known:
            return "limits_unavailable", UNKNOWN_RETRY_MS
        if (
            limits.monthly_spend_micro is not None
            and used.spend_micro + ask.micro > limits.monthly_spend_micro
        ):
            return "budget_exhausted", NEVER
        return None

    @staticmethod
    def _take(counters: _Counters, ask: Ask, *, now_ms: int) -> None:
        counters.requests[ask.request_id] = now_ms
        counters.tokens[ask.request_id] = (now_ms, ask.tokens)
        counters.leases[ask.request_id] = now_ms + ask.lease_ms
        counters.spend[ask.month] = counters.spend.get(ask.month, 0) + ask.micro


def _free_requests(counters: _Counters, limit: int, now_ms: int) -> int:
    """Milliseconds until one more fits: as many must leave as are over ``limit - 1``."""
    times = sorted(counters.requests.values())
    leaving = len(times) - limit
    return times[leaving] + WINDOW_MS - now_ms if limit > 0 else NEVER


def _free_tokens(counters: _Counters, room_needed: int, now_ms: int) -> int:
    freed = 0
    for at, _, amount in sorted((at, name, amount) for name, (at, amount) in counters.tokens.items()):
        freed += amount
        if freed >= room_needed:
            return at + WINDOW_MS - now_ms
    return NEVER
