"""What the console and the metrics see of a pool."""

import os

import redis
import redis.asyncio as aredis

from gateway_hooks.contract.pool_view import POOL_VIEW, parse_pool_view, pool_view_keys, read_pool_view
from gateway_hooks.fairness.ask import Capacity
from tests.gateway_hooks.fairness.asks import POOL, ledger, seat_ask, with_client


def fill() -> None:
    async def run(client: aredis.Redis) -> None:
        one, two, size = ledger(client, "gw-1"), ledger(client, "gw-2"), Capacity(2, 100)
        await one.enter(seat_ask("r1", "a", tokens=30, weight=3), size)
        await two.enter(seat_ask("r2", "b", tokens=20), size)
        await two.enter(seat_ask("r3", "b", tokens=5), size)
        await two.enter(seat_ask("r4", "b", tokens=6), size)
        await one.enter(seat_ask("r5", "c", tokens=7, band=1), size)

    with_client(os.environ["REDIS_URL"], run)


def test_a_view_counts_seats_and_places_by_tenant_and_by_gateway(redis_client: "redis.Redis"):
    fill()

    view = read_pool_view(redis_client, POOL)

    assert (view.seats, view.tokens, view.waiting) == (2, 50, 3)
    tenants = [
        (one.tenant_id, one.band, one.counter, one.waiting, one.waiting_tokens, one.seats, one.tokens)
        for one in view.tenants
    ]
    assert tenants == [("a", 0, 10, 0, 0, 1, 30), ("b", 0, 20, 2, 11, 1, 20), ("c", 1, 0, 1, 7, 0, 0)]
    gateways = [(one.gateway_id, one.seats, one.waiting) for one in view.gateways]
    assert gateways == [("gw-1", 1, 1), ("gw-2", 1, 2)]
    assert all(0 < one.beat_ms <= 5000 for one in view.gateways)


def test_an_unknown_pool_is_empty(redis_client: "redis.Redis"):
    view = read_pool_view(redis_client, "no such pool")

    assert (view.seats, view.tokens, view.waiting, view.tenants, view.gateways) == (0, 0, 0, (), ())
    assert redis_client.keys("*") == []


def test_a_client_that_is_awaited_reads_the_same(redis_client: "redis.Redis"):
    fill()

    async def run(client: aredis.Redis) -> list[str]:
        names = pool_view_keys(POOL)
        view = parse_pool_view(POOL, await client.eval(POOL_VIEW, len(names), *names))
        return [one.tenant_id for one in view.tenants]

    seen = with_client(os.environ["REDIS_URL"], run)

    assert seen == [one.tenant_id for one in read_pool_view(redis_client, POOL).tenants]
