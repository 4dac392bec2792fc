"""Admission through Redis: builds keys and arguments, reads the answer."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway_hooks.admission.admit_script import ADMIT
from gateway_hooks.admission.ask import Ask, Scope
from gateway_hooks.admission.decision import MAX_END_USERS, BudgetPeriod, Refusal, Verdict
from gateway_hooks.admission.end_scripts import COUNT_LATE, END, RENEW
from gateway_hooks.admission.together import SharedScript
from gateway_hooks.contract import keys
from gateway_hooks.contract.limits_view import Used
from gateway_hooks.contract.settlement import DAY_KEPT_SECONDS, SPEND_KEPT_SECONDS
from gateway_hooks.contract.snapshot import Limits

_COUNTERS = 6
_HEAD = 9


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is counted for one scope; ``day`` and ``month`` are seconds to keep money that is counted."""

    window: bool = False
    tokens: bool = False
    leases: bool = False
    kv: bool = False
    day: str | None = None
    month: str | None = None
    user: bool = False


class AdmitWire(msgspec.Struct, frozen=True):
    """What the script needs of an ``Ask``; ``limits`` and ``kept`` are the scopes'.

    ``hold`` is the hold's JSON up to the amount, which the script knows.
    """

    id: str
    prompt_tokens: int
    max_output: int
    choices: int
    clamp: bool
    input_micro: int
    output_micro: int
    kv_bytes_per_token: int | None
    lease_ms: int
    limits: list[Limits]
    kept: list[Kept]
    hold: str
    max_end_users: int
    now_ms: int | None


class EndWire(msgspec.Struct, frozen=True):
    id: str
    kept: list[Kept]
    cancel: bool
    tokens: int | None
    micro: int | None


class RenewWire(msgspec.Struct, frozen=True):
    id: str
    lease_ms: int
    now_ms: int | None


class LateWire(msgspec.Struct, frozen=True):
    """``keeps_tokens`` says it for each scope that keeps a window."""

    id: str
    at_ms: int
    tokens: int
    keeps_tokens: list[bool]
    now_ms: int | None


_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


def kept(scope: Scope, ask: Ask) -> Kept:
    day, month = DAY_KEPT_SECONDS, SPEND_KEPT_SECONDS
    if scope.is_user:
        day, month = (max(1, (period.ends_ms - ask.at_ms) // 1000) for period in (ask.day, ask.month))
    return Kept(
        window=scope.keeps_window,
        tokens=scope.keeps_tokens,
        leases=scope.keeps_leases,
        kv=scope.keeps_kv,
        day=str(day) if scope.keeps_day else None,
        month=str(month) if scope.keeps_month else None,
        user=scope.is_user,
    )


def admission_keys(ask: Ask) -> list[str]:
    tenant = ask.tenant_id
    names = [keys.ended(tenant, ask.request_id), keys.holds(tenant), keys.spend_known(tenant)]
    for scope in ask.scopes:
        names += _window_keys(ask, scope)
        names += _lease_keys(ask, scope)
        for period in _periods(ask, scope):
            names.append(keys.spend(tenant, scope.name, period))
            if scope.is_user:
                names.append(keys.end_users(tenant, period))
    return names


def admission_argument(ask: Ask, *, now_ms: int | None, max_end_users: int = MAX_END_USERS) -> bytes:
    spend_keys = [
        keys.spend(ask.tenant_id, scope.name, period)
        for scope in ask.scopes
        for period in _periods(ask, scope)
    ]
    hold = _json({**ask.note, "keys": spend_keys, "at": ask.at_ms}).decode()
    return _pack(
        AdmitWire(
            id=ask.request_id,
            prompt_tokens=ask.prompt_tokens,
            max_output=ask.max_output,
            choices=ask.choices,
            clamp=ask.clamp,
            input_micro=ask.input_micro,
            output_micro=ask.output_micro,
            kv_bytes_per_token=ask.kv_bytes_per_token,
            lease_ms=ask.lease_ms,
            limits=[scope.limits for scope in ask.scopes],
            kept=[kept(scope, ask) for scope in ask.scopes],
            hold=hold[:-1] + ',"micro":',
            max_end_users=max_end_users,
            now_ms=now_ms,
        )
    )


def _window_keys(ask: Ask, scope: Scope) -> tuple[str, ...]:
    if not scope.keeps_window:
        return ()
    return keys.requests_window(ask.tenant_id, scope.name), keys.tokens_amounts(ask.tenant_id, scope.name)


def _lease_keys(ask: Ask, scope: Scope) -> tuple[str, ...]:
    if not scope.keeps_leases:
        return ()
    return keys.leases(ask.tenant_id, scope.name), keys.kv_amounts(ask.tenant_id, scope.name)


def _periods(ask: Ask, scope: Scope) -> Iterator[str]:
    if scope.keeps_day:
        yield ask.day.name
    if scope.keeps_month:
        yield ask.month.name


def read_verdict(answer: Sequence[Any]) -> Verdict:
    refusal, scope, period, limit, used, asked, retry_after_ms, max_output, micro = answer[:_HEAD]
    numbers = answer[_HEAD:]
    return Verdict(
        refusal=cast("Refusal", refusal.decode()) if refusal else None,
        scope=scope,
        period=cast("BudgetPeriod", period.decode()),
        limit=limit,
        used=used,
        asked=asked,
        retry_after_ms=retry_after_ms,
        max_output=max_output,
        micro=micro,
        counters=tuple(Used(*numbers[at : at + _COUNTERS]) for at in range(0, len(numbers), _COUNTERS)),
    )


class AdmissionLedger:
    """The scripts of one Redis connection pool. Redis errors pass through to the caller's door.

    Ends, renewals and late counts are queued on a pipeline, with the scripts' text: in a pipeline redis-py
    would ask first whether a script is there.
    """

    def __init__(self, client: Redis, *, max_end_users: int = MAX_END_USERS) -> None:
        self._admit = SharedScript(client, ADMIT)
        self._max_end_users = max_end_users

    async def admit(self, ask: Ask, *, now_ms: int | None = None) -> Verdict:
        """``now_ms`` is for tests; without it Redis' own clock counts, the same for every gateway."""
        argument = admission_argument(ask, now_ms=now_ms, max_end_users=self._max_end_users)
        return read_verdict(await self._admit(admission_keys(ask), argument))

    async def finish(self, pipeline: Pipeline, ask: Ask, *, tokens: int | None, micro: int | None) -> None:
        """The end of a request: the lease goes; what is known replaces what was reserved.

        Without ``micro`` the hold stays for whoever learns the engine's counts. Of several ends of one
        request the first counts, and an admission that comes after it is refused.
        """
        self._end(pipeline, ask, cancel=False, tokens=tokens, micro=micro)

    async def cancel(self, pipeline: Pipeline, ask: Ask) -> None:
        """The end of a request that no worker got: everything that it took comes back."""
        self._end(pipeline, ask, cancel=True, tokens=None, micro=0)

    async def renew(self, pipeline: Pipeline, asks: Iterable[Ask], *, now_ms: int | None = None) -> None:
        """One command for each ask, answered with the number of its leases that still run."""
        for ask in asks:
            names = [name for scope in ask.scopes for name in _lease_keys(ask, scope)]
            wire = RenewWire(id=ask.request_id, lease_ms=ask.lease_ms, now_ms=now_ms)
            pipeline.eval(RENEW, len(names), *names, _pack(wire))

    async def count_late(
        self, pipeline: Pipeline, ask: Ask, *, tokens: int, now_ms: int | None = None
    ) -> None:
        """Count in windows that are still open what ran while Redis was away, once."""
        scopes = [scope for scope in ask.scopes if scope.keeps_window]
        names = [name for scope in scopes for name in _window_keys(ask, scope)]
        wire = LateWire(
            id=ask.request_id,
            at_ms=ask.at_ms,
            tokens=tokens,
            keeps_tokens=[scope.keeps_tokens for scope in scopes],
            now_ms=now_ms,
        )
        pipeline.eval(COUNT_LATE, len(names), *names, _pack(wire))

    @staticmethod
    def _end(pipeline: Pipeline, ask: Ask, *, cancel: bool, tokens: int | None, micro: int | None) -> None:
        names = [keys.ended(ask.tenant_id, ask.request_id), keys.holds(ask.tenant_id)]
        for scope in ask.scopes:
            names += _window_keys(ask, scope)
            names += _lease_keys(ask, scope)
        wire = EndWire(
            id=ask.request_id,
            kept=[kept(scope, ask) for scope in ask.scopes],
            cancel=cancel,
            tokens=tokens,
            micro=micro,
        )
        pipeline.eval(END, len(names), *names, _pack(wire))
