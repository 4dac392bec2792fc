"""Requests under which workers crash. Whoever did it twice is refused from then on, by every gateway.

A worker takes all that it runs with it, so most of those present are innocent. All are noted at the scene;
guilty is who was at two scenes (two boots) where nobody else was at both, or who was at too many. Only
scenes without another tenant's requests count: nobody can get a stranger's request refused. And whoever is
answered has no record any more.
"""

import hashlib
import hmac
import itertools
import logging
from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis

from gateway_hooks.contract.dead_letters import (
    DEAD_LETTERS,
    KEPT_SECONDS,
    SUSPECT_SECONDS,
    SUSPECTS,
    Crash,
    DeadLetter,
    crash_scene,
    decode_crash,
    encode_crash,
    encode_dead_letter,
    entry_name,
    suspect,
)
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.redis_door import RedisAway, RedisDoor

log = logging.getLogger("tenantry.gateway.routing")

MAX_CRASHES = 4
REFRESH = timedelta(seconds=1)
_TOLD = 20
_HOW_IT_IS_SENT = frozenset({"stream", "stream_options"})
_encoder = msgspec.json.Encoder(order="deterministic")


class Suspect(NamedTuple):
    """A request in flight at a worker whose connection broke or that failed."""

    tenant_id: str
    alias: str
    fingerprint: str
    request_id: str
    worker_id: str
    boot_id: str

    @property
    def name(self) -> str:
        return entry_name(self.tenant_id, self.fingerprint)


def fingerprint(secret: bytes, *, tenant_id: str, endpoint: str, fields: Mapping[str, Any]) -> str:
    """Hex HMAC of a checked body: the same whether streamed or not, and telling nothing of what it says."""
    said = {name: value for name, value in fields.items() if name not in _HOW_IT_IS_SENT}
    message = _encoder.encode([tenant_id, endpoint, said])
    key = hmac.new(secret, b"dead letters", hashlib.sha256).digest()
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def is_guilty(name: str, scenes: Sequence[Set[str]]) -> bool:
    """``scenes``: who was there, at every crash that ``name`` is said to have seen. Pure."""
    seen = [scene for scene in scenes if name in scene and len({_owner(other) for other in scene}) == 1]
    if len(seen) >= MAX_CRASHES:
        return True
    return any(one & other == {name} for one, other in itertools.combinations(seen, 2))


def _owner(name: str) -> str:
    """The tenant's id in an ``entry_name``."""
    return name.partition(":")[0]


class DeadLetters:
    """What is refused is known here, without asking Redis: a set that is refreshed every second."""

    def __init__(self, door: RedisDoor, secret: bytes) -> None:
        self._door = door
        self._secret = secret
        self._known: dict[str, frozenset[str]] = {}
        self._suspected: dict[str, frozenset[str]] = {}

    def fingerprint(self, tenant_id: str, endpoint: str, fields: Mapping[str, Any]) -> str:
        return fingerprint(self._secret, tenant_id=tenant_id, endpoint=endpoint, fields=fields)

    def refuse_known(self, tenant_id: str, endpoint: str, fields: Mapping[str, Any]) -> None:
        """Raises ``GatewayError`` for a request on the list. Costs nothing to tenants who have none there."""
        mine = self._known.get(tenant_id)
        if mine and self.fingerprint(tenant_id, endpoint, fields) in mine:
            raise GatewayError(Code.POISON_REQUEST)

    async def refresh(self, *, now: float) -> None:
        """``now`` is monotonic seconds. While Redis is away what is known stays."""
        try:
            names, suspects = await self._door.ask(_listed, now=now)
        except RedisAway:
            log.debug("Redis is away, keeping the dead letters last known")
            return
        self._known, self._suspected = _by_tenant(names), _by_tenant(suspects)

    def suspected(self, tenant_id: str, endpoint: str, fields: Mapping[str, Any]) -> str | None:
        """The fingerprint of a request with a record of crashes. Costs nothing to tenants who have none."""
        mine = self._suspected.get(tenant_id)
        if not mine:
            return None
        print_ = self.fingerprint(tenant_id, endpoint, fields)
        return print_ if print_ in mine else None

    async def clear(self, tenant_id: str, fingerprint: str, *, now: float) -> None:
        """A worker lived through it: its record of crashes is gone. Raises ``RedisAway``."""
        await self._door.ask(lambda client: _forget(client, tenant_id, fingerprint), now=now)

    async def was_there(self, one: Suspect, *, now: float) -> None:
        """Note it at the scene, before anybody knows whether there was a crash. Raises ``RedisAway``."""

        async def note(client: Redis) -> None:
            scene = crash_scene(one.worker_id, one.boot_id)
            async with client.pipeline(transaction=True) as pipeline:
                pipeline.sadd(scene, one.name)
                pipeline.expire(scene, SUSPECT_SECONDS)
                await pipeline.execute()

        await self._door.ask(note, now=now)

    async def was_not_there(self, one: Suspect, *, now: float) -> None:
        """The worker lived on: what failed has nothing to do with a later crash. Raises ``RedisAway``."""
        scene = crash_scene(one.worker_id, one.boot_id)
        await self._door.ask(lambda client: client.srem(scene, one.name), now=now)

    async def crashed(self, one: Suspect, *, at: datetime, now: float) -> bool:
        """The worker did crash: judge. True if the request is on the list now. Raises ``RedisAway``.

        All others that were there must have been noted by now.
        """
        crash = Crash(
            at=at,
            worker_id=one.worker_id,
            boot_id=one.boot_id,
            request_id=one.request_id,
            alias=one.alias,
        )

        async def judge(client: Redis) -> bool:
            crashes = await _remember(client, one, crash)
            scenes = await _scenes(client, crashes)
            if not is_guilty(one.name, scenes):
                return False
            await _condemn(client, _letter(one, crashes))
            return True

        guilty = await self._door.ask(judge, now=now)
        if guilty:
            mine = self._known.get(one.tenant_id, frozenset())
            self._known[one.tenant_id] = mine | {one.fingerprint}
            log.warning("request %s crashed workers repeatedly and is refused from now on", one.request_id)
        return guilty


def _by_tenant(names: Sequence[bytes]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name in names:
        tenant_id, _, print_ = name.decode().partition(":")
        found.setdefault(tenant_id, set()).add(print_)
    return {tenant_id: frozenset(prints) for tenant_id, prints in found.items()}


async def _listed(client: Redis) -> tuple[list[bytes], list[bytes]]:
    """Who is refused, who is under suspicion."""
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.hkeys(DEAD_LETTERS)
        pipeline.zrange(SUSPECTS, 0, -1)
        refused, suspects = await pipeline.execute()
    return refused, suspects


async def _forget(client: Redis, tenant_id: str, fingerprint: str) -> None:
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.delete(suspect(tenant_id, fingerprint))
        pipeline.zrem(SUSPECTS, entry_name(tenant_id, fingerprint))
        await pipeline.execute()


async def _remember(client: Redis, one: Suspect, crash: Crash) -> list[Crash]:
    """All crashes of this request, this one with them, oldest first."""
    name = suspect(one.tenant_id, one.fingerprint)
    at = crash.at.timestamp()
    async with client.pipeline(transaction=True) as pipeline:
        # Once per boot, however many copies of the request were there.
        pipeline.hsetnx(name, f"{one.worker_id}:{one.boot_id}", encode_crash(crash))
        pipeline.expire(name, SUSPECT_SECONDS)
        pipeline.zremrangebyscore(SUSPECTS, "-inf", at)
        pipeline.zadd(SUSPECTS, {one.name: at + SUSPECT_SECONDS})
        pipeline.expire(SUSPECTS, SUSPECT_SECONDS)
        pipeline.hvals(name)
        raw = (await pipeline.execute())[-1]
    return sorted(map(decode_crash, raw), key=lambda known: known.at)


async def _scenes(client: Redis, crashes: Sequence[Crash]) -> list[set[str]]:
    async with client.pipeline(transaction=False) as pipeline:
        for crash in crashes:
            pipeline.smembers(crash_scene(crash.worker_id, crash.boot_id))
        return [{name.decode() for name in names} for names in await pipeline.execute()]


async def _condemn(client: Redis, letter: DeadLetter) -> None:
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.hset(
            DEAD_LETTERS, entry_name(letter.tenant_id, letter.fingerprint), encode_dead_letter(letter)
        )
        pipeline.expire(DEAD_LETTERS, KEPT_SECONDS)
        await pipeline.execute()
    # Whoever is let go from the list starts without a record.
    await _forget(client, letter.tenant_id, letter.fingerprint)


def _letter(one: Suspect, crashes: Sequence[Crash]) -> DeadLetter:
    """Of ``crashes`` only the newest are told."""
    told = crashes[-_TOLD:]
    return DeadLetter(
        fingerprint=one.fingerprint,
        tenant_id=one.tenant_id,
        alias=one.alias,
        first_at=crashes[0].at,
        last_at=crashes[-1].at,
        crashes=len(crashes),
        workers=tuple(dict.fromkeys(crash.worker_id for crash in told)),
        request_ids=tuple(dict.fromkeys(crash.request_id for crash in told)),
    )
