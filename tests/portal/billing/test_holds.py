"""Holds that no event settles are given back, and no others."""

from datetime import datetime, timedelta

import msgspec
import pytest
import redis

from gateway_hooks.contract import keys
from portal.billing.holds import give_back_holds
from portal.billing.models import LedgerEntry
from portal.billing.services import rate_requests
from portal.core import clock
from portal.tenants.models import Tenant
from portal.usage.services import ingest
from tests.portal.billing.books import (
    NOW,
    engine_event,
    gateway_event,
    hold,
    make_book,
    make_pool,
    make_tenant,
    send,
)

pytestmark = pytest.mark.django_db

WAIT = timedelta(hours=1, seconds=120)
"""For the engine's event, after the longest time that a request of the tenant may take."""


@pytest.fixture
def tenant() -> Tenant:
    make_book(("1", "1", "1"))
    return make_tenant(make_pool())


def admitted(client: "redis.Redis", tenant: Tenant, request_id: str, at: datetime | None) -> None:
    (name,) = hold(client, tenant, request_id, 5000)
    content = {"keys": [name], "micro": 5000} | ({"at": int(at.timestamp() * 1000)} if at else {})
    client.hset(keys.holds(str(tenant.pk)), request_id, msgspec.json.encode(content))


def spent(client: "redis.Redis", tenant: Tenant) -> int:
    return int(client.get(keys.spend(str(tenant.pk), "tenant", "2026-11")) or 0)


def held(client: "redis.Redis", tenant: Tenant) -> set[bytes | str]:
    return set(client.hkeys(keys.holds(str(tenant.pk))))


def test_a_hold_of_which_nothing_was_heard_is_given_back_after_the_longest_wait(
    tenant: Tenant, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    admitted(redis_client, tenant, "old", NOW - WAIT)
    admitted(redis_client, tenant, "young", NOW - WAIT + timedelta(seconds=1))

    given_back = give_back_holds(NOW)

    assert given_back == 1
    assert held(redis_client, tenant) == {b"young"}
    assert spent(redis_client, tenant) == 5000
    assert "gave back 1 hold" in caplog.text
    assert give_back_holds(NOW) == 0


def test_many_holds_are_given_back_in_one_run(tenant: Tenant, redis_client: "redis.Redis") -> None:
    other = make_tenant(tenant.pool, "Globex")
    for number in range(700):
        admitted(redis_client, tenant, f"r{number}", NOW - WAIT)
    admitted(redis_client, other, "theirs", NOW - WAIT)

    given_back = give_back_holds(NOW)

    assert given_back == 701
    assert (spent(redis_client, tenant), spent(redis_client, other)) == (0, 0)


def test_a_request_that_waits_to_be_rated_keeps_its_hold(tenant: Tenant, redis_client: "redis.Redis") -> None:
    long_ago = NOW - WAIT
    admitted(redis_client, tenant, "r1", long_ago)
    send(redis_client, gateway_event(tenant, "r1", ts=long_ago))
    ingest(NOW)

    assert give_back_holds(NOW) == 0
    assert spent(redis_client, tenant) == 5000


def test_a_hold_that_came_back_after_its_settlement_becomes_what_was_booked(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    long_ago = NOW - WAIT
    send(redis_client, gateway_event(tenant, "r1", ts=long_ago), engine_event(tenant, "r1", ts=long_ago))
    send(redis_client, gateway_event(tenant, "refused", ts=long_ago, outcome="rejected", forwarded=False))
    ingest(NOW)
    rate_requests(NOW)
    admitted(redis_client, tenant, "r1", long_ago)
    admitted(redis_client, tenant, "refused", long_ago)

    given_back = give_back_holds(NOW)

    assert given_back == 2
    assert LedgerEntry.objects.count() == 1
    assert spent(redis_client, tenant) == 120


def test_a_hold_without_a_time_is_kept_while_its_request_is_under_way(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    leases = keys.leases(str(tenant.pk), keys.TENANT_SCOPE)
    for name, end in (("running", NOW + timedelta(seconds=9)), ("expired", NOW - timedelta(seconds=9))):
        admitted(redis_client, tenant, name, None)
        redis_client.zadd(leases, {name: end.timestamp() * 1000})
    admitted(redis_client, tenant, "gone", None)

    given_back = give_back_holds(NOW)

    assert given_back == 2
    assert held(redis_client, tenant) == {b"running"}


def test_nothing_is_given_back_while_usage_waits_to_be_taken_in(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    soon = clock.now() + timedelta(minutes=1)
    admitted(redis_client, tenant, "r1", soon - WAIT)
    send(redis_client, engine_event(tenant, "r1"))

    assert give_back_holds(soon) == 0
    assert held(redis_client, tenant) == {b"r1"}


def test_a_hold_that_cannot_be_read_stops_no_other(
    tenant: Tenant, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    redis_client.hset(keys.holds(str(tenant.pk)), "broken", b"{")
    admitted(redis_client, tenant, "old", NOW - WAIT)

    assert give_back_holds(NOW) == 1
    assert "the hold of broken cannot be read" in caplog.text
