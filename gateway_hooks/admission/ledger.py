"""Admission through Redis: builds keys and arguments, reads the answer."""

from collections.abc import Sequence
from typing import Any, cast, get_args

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway_hooks.admission.script import ADMIT, RELEASE
from gateway_hooks.admission.verdict import NO_LIMIT, Ask, Refusal, Scope, Used, Verdict
from gateway_hooks.contract import keys
from gateway_hooks.contract.settlement import SETTLE, SPEND_KEPT_SECONDS

_COUNTERS = 4
_HEAD = 3


def admission_keys(ask: Ask) -> list[str]:
    names: list[str] = []
    for scope in ask.scopes:
        names += (
            keys.requests_window(ask.tenant_id, scope.name),
            keys.tokens_window(ask.tenant_id, scope.name),
            keys.tokens_amounts(ask.tenant_id, scope.name),
            keys.leases(ask.tenant_id, scope.name),
            keys.spend(ask.tenant_id, scope.name, ask.month),
        )
    names += (keys.holds(ask.tenant_id), keys.spend_known(ask.tenant_id))
    return names


def admission_arguments(ask: Ask, *, now_ms: int | None) -> list[str | int | bytes]:
    spend_keys = [keys.spend(ask.tenant_id, scope.name, ask.month) for scope in ask.scopes]
    hold = msgspec.json.encode({"keys": spend_keys, "micro": ask.micro, "at": ask.at_ms})
    arguments: list[str | int | bytes] = [
        ask.request_id,
        ask.tokens,
        ask.micro,
        ask.lease_ms,
        hold,
        SPEND_KEPT_SECONDS,
        "" if now_ms is None else now_ms,
    ]
    for scope in ask.scopes:
        arguments += _limits(scope)
    return arguments


def _limits(scope: Scope) -> Sequence[int]:
    limits = scope.limits
    return [
        NO_LIMIT if limit is None else limit
        for limit in (
            limits.requests_per_minute,
            limits.tokens_per_minute,
            limits.concurrency,
            limits.monthly_spend_micro,
        )
    ]


def read_verdict(answer: Sequence[Any]) -> Verdict:
    refusal = answer[0].decode()
    numbers = answer[_HEAD:]
    return Verdict(
        refusal=cast("Refusal", refusal) if refusal in get_args(Refusal) else None,
        scope=answer[1],
        retry_after_ms=answer[2],
        used=tuple(Used(*numbers[at : at + _COUNTERS]) for at in range(0, len(numbers), _COUNTERS)),
    )


class AdmissionLedger:
    """The scripts of one Redis connection pool. Redis errors pass through to the caller's door."""

    def __init__(self, client: Redis) -> None:
        self._admit = client.register_script(ADMIT)

    async def admit(self, ask: Ask, *, now_ms: int | None = None) -> Verdict:
        """``now_ms`` is for tests; without it Redis' own clock counts, the same for every gateway."""
        answer = await self._admit(keys=admission_keys(ask), args=admission_arguments(ask, now_ms=now_ms))
        return read_verdict(answer)

    async def finish(self, pipeline: Pipeline, ask: Ask, *, tokens: int | None, micro: int | None) -> None:
        """Queue the end of a request: the lease goes; what is known replaces what was reserved.

        Without ``micro`` the hold stays for whoever learns the engine's counts.
        """
        names: list[str] = []
        for scope in ask.scopes:
            names += (
                keys.leases(ask.tenant_id, scope.name),
                keys.tokens_amounts(ask.tenant_id, scope.name),
            )
        used = "" if tokens is None else tokens
        # EVAL, not EVALSHA: in a pipeline redis-py would ask first whether the script is there.
        pipeline.eval(RELEASE, len(names), *names, ask.request_id, used)
        if micro is not None:
            pipeline.eval(SETTLE, 1, keys.holds(ask.tenant_id), ask.request_id, micro)
