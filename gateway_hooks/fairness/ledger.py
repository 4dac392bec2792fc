"""The queue of a pool through Redis: builds arguments, reads answers."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from gateway_hooks.contract import pool_keys
from gateway_hooks.fairness import script
from gateway_hooks.fairness.ask import Capacity, Departed, Entered, Lost, Place, SeatAsk

Argument = str | int | bytes


def seat_record(ask: SeatAsk, gateway_id: str) -> bytes:
    """What Redis keeps of a request, see ``pool_keys.seats``."""
    return msgspec.json.encode(
        {"g": gateway_id, "t": ask.tenant_id, "n": ask.tokens, "w": ask.weight, "b": ask.band}
    )


class PoolLedger:
    """The scripts of one Redis connection pool. Redis errors pass through to the caller's door.

    ``now_ms`` is for tests; without it Redis' own clock counts, the same for every gateway.
    """

    def __init__(self, client: Redis, *, gateway_id: str, beat_ms: int) -> None:
        self._gateway_id = gateway_id
        self._beat_ms = beat_ms
        self._enter = client.register_script(script.ENTER)
        self._poll = client.register_script(script.POLL)
        self._finish = client.register_script(script.FINISH)
        self._leave = client.register_script(script.LEAVE)
        self._beat = client.register_script(script.BEAT)
        self._reap = client.register_script(script.REAP)

    async def enter(self, ask: SeatAsk, capacity: Capacity, *, now_ms: int | None = None) -> Entered:
        arguments: list[Argument] = [
            *_head(capacity, now_ms),
            ask.request_id,
            seat_record(ask, self._gateway_id),
            self._gateway_id,
            ask.tenant_id,
            ask.band,
            ask.queue_depth,
            ask.info,
            self._beat_ms,
        ]
        status, position, granted = await self._enter(keys=_keys(ask.pool_id), args=arguments)
        return Entered(status.decode(), position, _names(granted))

    async def poll(
        self, pool_id: str, capacity: Capacity, request_ids: Sequence[str], *, now_ms: int | None = None
    ) -> tuple[tuple[Place, ...], tuple[str, ...]]:
        """Dispatch; then where each of ``request_ids`` is, and all that were seated."""
        arguments = [*_head(capacity, now_ms), *request_ids]
        places, granted = await self._poll(keys=_keys(pool_id), args=arguments)
        return cast("tuple[Place, ...]", _names(places)), _names(granted)

    async def finish(
        self,
        pool_id: str,
        request_id: str,
        capacity: Capacity,
        *,
        actual: int | None,
        now_ms: int | None = None,
    ) -> Departed:
        arguments = _finish_arguments(capacity, request_id, actual=actual, now_ms=now_ms)
        return _departed(await self._finish(keys=_keys(pool_id), args=arguments))

    def queue_finish(
        self, pipeline: Pipeline, pool_id: str, request_id: str, capacity: Capacity, *, actual: int | None
    ) -> None:
        """Queue the same, for a round trip that the caller makes anyway."""
        arguments = _finish_arguments(capacity, request_id, actual=actual, now_ms=None)
        # EVAL, not EVALSHA: in a pipeline redis-py would ask first whether the script is there.
        pipeline.eval(script.FINISH, 1, *_keys(pool_id), *cast("list[Any]", arguments))

    async def leave(
        self, pool_id: str, request_id: str, capacity: Capacity, *, now_ms: int | None = None
    ) -> Departed:
        return _departed(await self._leave(keys=_keys(pool_id), args=[*_head(capacity, now_ms), request_id]))

    async def beat(self, pool_id: str, *, now_ms: int | None = None) -> frozenset[str]:
        """This gateway lives; the request ids that it has in the pool."""
        arguments = [*_head(Capacity(0, 0), now_ms), self._gateway_id, self._beat_ms]
        return frozenset(_names(await self._beat(keys=_keys(pool_id), args=arguments)))

    async def reap(
        self, pool_id: str, capacity: Capacity, *, now_ms: int | None = None
    ) -> tuple[tuple[Lost, ...], tuple[str, ...]]:
        """What dead gateways had here, told once; and all that were seated then."""
        lost, granted = await self._reap(keys=_keys(pool_id), args=_head(capacity, now_ms))
        found = (
            Lost(pool_id=pool_id, request_id=name.decode(), seated=bool(seated), info=info)
            for name, seated, info in lost
        )
        return tuple(found), _names(granted)


def _keys(pool_id: str) -> list[str]:
    return [pool_keys.state(pool_id)]


def _head(capacity: Capacity, now_ms: int | None) -> list[Argument]:
    return [capacity.sequences, capacity.tokens, "" if now_ms is None else now_ms]


def _finish_arguments(
    capacity: Capacity, request_id: str, *, actual: int | None, now_ms: int | None
) -> list[Argument]:
    return [*_head(capacity, now_ms), request_id, "" if actual is None else actual]


def _names(raw: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(name.decode() for name in raw)


def _departed(answer: Sequence[Any]) -> Departed:
    what, granted = answer
    return Departed(what.decode(), _names(granted))
