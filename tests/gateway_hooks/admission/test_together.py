"""Calls that share a batch: each gets its own answer, and nobody another's failure."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import redis.asyncio as aredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from gateway_hooks.admission.together import LANES, LARGEST, SharedScript

T = TypeVar("T")
ECHO = """
if ARGV[1] == 'fail' then return redis.error_reply('FAIL on purpose') end
redis.call('INCR', 'runs')
return ARGV[1]
"""

pytestmark = pytest.mark.usefixtures("redis_client")


def with_script(work: Callable[[SharedScript, aredis.Redis], Awaitable[T]], url: str = "") -> T:
    async def run() -> T:
        async with aredis.Redis.from_url(url or os.environ["REDIS_URL"]) as client:
            return await work(SharedScript(client, ECHO), client)

    return asyncio.run(run())


def test_each_caller_gets_its_own_answer_over_few_connections():
    count = LARGEST * LANES + 5

    async def run(script: SharedScript, client: aredis.Redis) -> tuple[list[bytes], int, int]:
        calls = (script([], b"%d" % number) for number in range(count))
        answers = await asyncio.gather(*calls)
        pool = client.connection_pool
        return answers, int(await client.get("runs") or 0), len(pool._available_connections)

    answers, runs, connections = with_script(run)

    assert answers == [b"%d" % number for number in range(count)]
    assert runs == count
    assert connections <= LANES


def test_a_redis_that_forgot_the_script_runs_each_call_once():
    async def run(script: SharedScript, client: aredis.Redis) -> tuple[list[bytes], int]:
        await client.script_flush()
        first = await script([], b"a")
        await client.script_flush()
        rest = await asyncio.gather(*(script([], b"b") for _ in range(9)))
        return [first, *rest], int(await client.get("runs") or 0)

    answers, runs = with_script(run)

    assert (answers, runs) == ([b"a"] + [b"b"] * 9, 10)


def test_an_error_reaches_only_the_caller_whose_call_it_met():
    async def run(script: SharedScript, _client: aredis.Redis) -> list[object]:
        calls = (script([], argument) for argument in (b"a", b"fail", b"b", b"c"))
        return await asyncio.gather(*calls, return_exceptions=True)

    first, failed, *others = with_script(run)

    assert [first, *others] == [b"a", b"b", b"c"]
    assert isinstance(failed, ResponseError)


def test_a_caller_that_goes_leaves_the_others_their_answers():
    async def run(script: SharedScript, client: aredis.Redis) -> tuple[list[bytes], int]:
        tasks = [asyncio.create_task(script([], b"%d" % number)) for number in range(5)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        answers = [await task for task in tasks if task is not tasks[2]]
        return answers, int(await client.get("runs") or 0)

    answers, runs = with_script(run)

    assert answers == [b"0", b"1", b"3", b"4"]
    assert runs == 5


def test_while_redis_is_away_every_caller_learns_it_and_later_ones_try_again():
    async def run(script: SharedScript, _client: aredis.Redis) -> list[object]:
        found: list[object] = []
        for _ in range(2):
            found += await asyncio.gather(*(script([], b"x") for _ in range(3)), return_exceptions=True)
        return found

    found = with_script(run, url="redis://127.0.0.1:1/0")

    assert len(found) == 6
    assert all(isinstance(one, RedisConnectionError) for one in found)
