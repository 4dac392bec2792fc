"""Who crashed a worker: the request that was there twice, and none that stood beside it."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract.dead_letters import (
    DEAD_LETTERS,
    KEPT_SECONDS,
    SUSPECT_SECONDS,
    crash_scene,
    decode_dead_letter,
    suspect,
)
from gateway_hooks.errors import GatewayError
from gateway_hooks.redis_door import RedisAway, RedisDoor
from gateway_hooks.routing.dead_letters import (
    MAX_CRASHES,
    DeadLetters,
    Suspect,
    fingerprint,
    is_guilty,
)

T = TypeVar("T")

SECRET = b"s" * 32
TENANT = "tenant-acme"
FIELDS: dict[str, Any] = {"model": "support", "messages": [{"role": "user", "content": "my secret"}]}
NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
CHAT = "chat.completions"


def one_there(print_: str, scene: int, *, tenant_id: str = TENANT) -> Suspect:
    return Suspect(
        tenant_id=tenant_id,
        alias="support",
        fingerprint=print_,
        request_id=f"{print_}-{scene}",
        worker_id=f"worker-{scene}",
        boot_id="boot-1",
    )


def asked(question: Callable[[DeadLetters], Awaitable[T]], *, url: str | None = None) -> T:
    """What the list answers, with a connection of its own."""

    async def ask() -> T:
        door = RedisDoor(
            url or os.environ["REDIS_URL"], timeout=timedelta(seconds=2), pause=timedelta(seconds=1)
        )
        try:
            return await question(DeadLetters(door, SECRET))
        finally:
            await door.close()

    return asyncio.run(ask())


async def crash(letters: DeadLetters, scene: int, *prints: str) -> list[bool]:
    """A worker dies under these; who of them is condemned."""
    there = [one_there(print_, scene) for print_ in prints]
    for one in there:
        await letters.was_there(one, now=0.0)
    at = NOW + timedelta(minutes=scene)
    return [await letters.crashed(one, at=at, now=0.0) for one in there]


def test_the_same_body_has_one_fingerprint_however_it_is_sent():
    plain = fingerprint(SECRET, tenant_id=TENANT, endpoint=CHAT, fields=FIELDS)
    turned = dict(reversed(FIELDS.items()))

    for fields in ({**FIELDS, "stream": True, "stream_options": {"include_usage": True}}, turned):
        assert fingerprint(SECRET, tenant_id=TENANT, endpoint=CHAT, fields=fields) == plain


@pytest.mark.parametrize(
    "change",
    [
        {"secret": b"t" * 32},
        {"tenant_id": "tenant-other"},
        {"endpoint": "messages"},
        {"fields": {**FIELDS, "temperature": 1}},
    ],
)
def test_another_body_tenant_endpoint_or_installation_has_another(change: dict[str, Any]):
    same = {"secret": SECRET, "tenant_id": TENANT, "endpoint": CHAT, "fields": FIELDS}
    whole = {**same, **change}

    assert fingerprint(whole.pop("secret"), **whole) != fingerprint(same.pop("secret"), **same)


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_of_two_scenes_at_most_one_is_guilty_and_was_at_both(first: set[str], second: set[str]):
    scenes = [{f"acme:{name}" for name in scene} for scene in (first, second)]

    guilty = [name for name in "abcdef" if is_guilty(f"acme:{name}", scenes)]

    assert len(guilty) <= 1
    assert set(guilty) <= first & second


@given(st.lists(st.sets(st.sampled_from(["acme:a", "acme:b", "acme:c"])), max_size=8))
def test_whoever_was_never_without_strangers_is_never_guilty(scenes: list[set[str]]):
    assert not is_guilty("other:ping", [{*scene, "other:ping"} for scene in scenes if scene])


def test_alone_twice_is_guilty_whatever_crashed_beside_it_otherwise():
    with_strangers = {"acme:a", "other:ping"}

    assert is_guilty("acme:a", [{"acme:a"}, with_strangers, {"acme:a"}])
    assert not is_guilty("acme:a", [{"acme:a"}, with_strangers])


def test_who_is_always_there_is_guilty_at_last_though_never_alone():
    pair = {"acme:a", "acme:b"}

    assert [is_guilty("acme:a", [pair] * count) for count in range(1, MAX_CRASHES + 1)] == [
        *[False] * (MAX_CRASHES - 1),
        True,
    ]


@contextmanager
def clean(client: "redis.Redis") -> Iterator[None]:
    client.flushdb()
    try:
        yield
    finally:
        client.flushdb()


def test_the_second_crash_makes_a_dead_letter_and_not_of_those_beside_it(redis_client: "redis.Redis"):
    async def story(letters: DeadLetters) -> list[list[bool]]:
        first = await crash(letters, 1, "poison", "bystander")
        return [first, await crash(letters, 2, "poison", "another")]

    with clean(redis_client):
        condemned = asked(story)

        assert condemned == [[False, False], [True, False]]
        (raw,) = redis_client.hvals(DEAD_LETTERS)
        letter = decode_dead_letter(raw)
        assert (letter.fingerprint, letter.tenant_id, letter.crashes) == ("poison", TENANT, 2)
        assert (letter.first_at, letter.last_at) == (NOW + timedelta(minutes=1), NOW + timedelta(minutes=2))
        assert letter.workers == ("worker-1", "worker-2")
        assert letter.request_ids == ("poison-1", "poison-2")


def test_one_crash_counts_once_however_many_copies_were_there(redis_client: "redis.Redis"):
    with clean(redis_client):
        assert asked(lambda letters: crash(letters, 1, *["poison"] * 5)) == [False] * 5


def test_where_two_were_at_both_crashes_neither_is_condemned_until_they_part(redis_client: "redis.Redis"):
    async def story(letters: DeadLetters) -> list[list[bool]]:
        return [
            await crash(letters, 1, "poison", "twin"),
            await crash(letters, 2, "poison", "twin"),
            await crash(letters, 3, "poison"),
        ]

    with clean(redis_client):
        assert asked(story) == [[False, False], [False, False], [True]]


def test_a_stranger_that_was_there_every_time_is_not_condemned(redis_client: "redis.Redis"):
    async def story(letters: DeadLetters) -> list[bool]:
        condemned = []
        for scene in range(1, MAX_CRASHES + 2):
            ping = one_there("ping", scene, tenant_id="tenant-other")
            await letters.was_there(ping, now=0.0)
            await crash(letters, scene, f"varied-{scene}")
            condemned.append(await letters.crashed(ping, at=NOW + timedelta(minutes=scene), now=0.0))
        return condemned

    with clean(redis_client):
        assert not any(asked(story))
        assert not redis_client.exists(DEAD_LETTERS)


def test_whoever_was_answered_since_has_no_record(redis_client: "redis.Redis"):
    async def answered(letters: DeadLetters) -> None:
        assert letters.suspected(TENANT, CHAT, FIELDS) is None
        await letters.refresh(now=0.0)
        assert letters.suspected(TENANT, CHAT, {**FIELDS, "temperature": 1}) is None
        print_ = letters.suspected(TENANT, CHAT, FIELDS)
        assert print_ is not None
        await letters.clear(TENANT, print_, now=0.0)
        await letters.refresh(now=0.0)
        assert letters.suspected(TENANT, CHAT, FIELDS) is None

    print_ = fingerprint(SECRET, tenant_id=TENANT, endpoint=CHAT, fields=FIELDS)
    with clean(redis_client):
        for scene in range(1, MAX_CRASHES + 2):
            assert asked(lambda letters, scene=scene: crash(letters, scene, print_)) == [False]
            asked(answered)


def test_the_list_is_known_everywhere_after_a_refresh_and_letting_go_too(redis_client: "redis.Redis"):
    async def refused(letters: DeadLetters) -> str:
        await letters.refresh(now=0.0)
        try:
            letters.refuse_known(TENANT, CHAT, {**FIELDS, "stream": True})
            letters.refuse_known("tenant-other", CHAT, FIELDS)
        except GatewayError as error:
            return error.code
        return ""

    print_ = fingerprint(SECRET, tenant_id=TENANT, endpoint=CHAT, fields=FIELDS)

    async def story(letters: DeadLetters) -> None:
        for scene in (1, 2):
            await crash(letters, scene, print_)

    with clean(redis_client):
        assert asked(refused) == ""
        asked(story)
        assert asked(refused) == "poison_request"
        redis_client.hdel(DEAD_LETTERS, *redis_client.hkeys(DEAD_LETTERS))
        assert asked(refused) == ""
        # Let go means without a record: the next crash is a first one.
        assert asked(lambda letters: crash(letters, 3, print_)) == [False]


def test_everything_expires_and_says_nothing_of_the_request(redis_client: "redis.Redis"):
    async def story(letters: DeadLetters) -> None:
        print_ = letters.fingerprint(TENANT, CHAT, FIELDS)
        await crash(letters, 1, print_, "bystander")
        await crash(letters, 2, print_)

    with clean(redis_client):
        asked(story)

        assert redis_client.keys("*")
        assert all(0 < redis_client.ttl(name) <= KEPT_SECONDS for name in redis_client.keys("*"))
        assert redis_client.ttl(crash_scene("worker-1", "boot-1")) <= SUSPECT_SECONDS
        assert redis_client.ttl(suspect(TENANT, "bystander")) <= SUSPECT_SECONDS
        assert b"secret" not in b"".join(redis_client.hvals(DEAD_LETTERS))


def test_without_redis_what_is_known_stays():
    async def story(letters: DeadLetters) -> None:
        letters._known = {TENANT: frozenset({letters.fingerprint(TENANT, CHAT, FIELDS)})}
        await letters.refresh(now=0.0)
        with pytest.raises(GatewayError):
            letters.refuse_known(TENANT, CHAT, FIELDS)
        with pytest.raises(RedisAway):
            await letters.was_there(one_there("a", 1), now=0.0)

    asked(story, url="redis://127.0.0.1:1/0")
