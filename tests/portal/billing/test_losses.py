"""After Redis lost its counters: nobody is counted from a ledger that does not know all yet."""

from datetime import datetime, timedelta

import pytest
import redis

from gateway_hooks.contract import keys
from portal.billing import services, settlement
from portal.billing.losses import MARGIN
from portal.snapshots.models import PublishedSnapshot
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

COST = 120
UNCOUNTED = dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens"))


@pytest.fixture
def tenant() -> Tenant:
    make_book(("1", "1", "1"))
    return make_tenant(make_pool())


@pytest.fixture
def over(tenant: Tenant) -> datetime:
    """When every request from before ``NOW`` has ended."""
    tier = tenant.tier
    seconds = tier.queue_wait_seconds + tier.request_timeout_seconds
    return NOW + timedelta(seconds=seconds) + MARGIN


def use(client: "redis.Redis", tenant: Tenant, *names: str, at: datetime = NOW) -> None:
    for name in names:
        send(client, gateway_event(tenant, name, ts=at), engine_event(tenant, name, ts=at))
    ingest(NOW)
    services.rate_requests(NOW)


def lose(client: "redis.Redis") -> None:
    client.flushall()


def is_known(client: "redis.Redis", tenant: Tenant) -> bool:
    return bool(client.exists(keys.spend_known(str(tenant.pk))))


def spent(client: "redis.Redis", tenant: Tenant) -> int:
    return int(client.get(keys.spend(str(tenant.pk), "tenant", "2026-11")) or 0)


def publish(at: datetime) -> None:
    PublishedSnapshot.objects.create(
        version=1, published_at=at, checked_at=at, digest="", content=b"", delivered_at=at
    )


def test_a_new_tenant_is_known_at_once_though_others_are_served(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    publish(tenant.created_at)
    settlement.make_spend_known(NOW)
    newcomer = make_tenant(tenant.pool, name="Newcomer")

    made = settlement.make_spend_known(NOW)

    assert made == 1
    assert is_known(redis_client, newcomer)


def test_requests_under_way_at_the_loss_are_counted_before_anybody_else_is_admitted(
    tenant: Tenant, redis_client: "redis.Redis", over: datetime
) -> None:
    use(redis_client, tenant, "before")
    lose(redis_client)

    assert settlement.make_spend_known(NOW) == 0
    use(redis_client, tenant, *(f"under way {number}" for number in range(10)))
    assert settlement.make_spend_known(over - timedelta(seconds=1)) == 0
    assert not is_known(redis_client, tenant)
    assert settlement.make_spend_known(over) == 1
    assert settlement.make_spend_known(over) == 0

    assert is_known(redis_client, tenant)
    assert spent(redis_client, tenant) == 11 * COST
    assert not redis_client.exists(keys.spend_lost(str(tenant.pk)))


def test_the_first_requests_of_a_tenant_that_gateways_know_are_awaited_too(
    tenant: Tenant, redis_client: "redis.Redis", over: datetime
) -> None:
    publish(tenant.created_at)

    assert settlement.make_spend_known(NOW) == 0
    assert settlement.make_spend_known(over) == 1
    assert is_known(redis_client, tenant)


def test_a_hold_says_that_there_are_requests(tenant: Tenant, redis_client: "redis.Redis") -> None:
    hold(redis_client, tenant, "r1", 5000)

    assert settlement.make_spend_known(NOW) == 0


def test_a_request_that_waits_to_be_rated_is_awaited(
    tenant: Tenant, redis_client: "redis.Redis", over: datetime
) -> None:
    send(redis_client, gateway_event(tenant, "half", **UNCOUNTED))
    ingest(NOW)
    services.rate_requests(NOW)
    lose(redis_client)
    settlement.make_spend_known(NOW)

    assert settlement.make_spend_known(over) == 0
    use(redis_client, tenant, "later", at=over)
    send(redis_client, engine_event(tenant, "half"))
    ingest(over)
    services.rate_requests(over)

    assert settlement.make_spend_known(over) == 1
    assert spent(redis_client, tenant) == 2 * COST


def test_usage_that_nobody_takes_in_is_awaited(
    tenant: Tenant, redis_client: "redis.Redis", over: datetime
) -> None:
    use(redis_client, tenant, "before")
    lose(redis_client)
    settlement.make_spend_known(NOW)
    old = int((over - timedelta(minutes=1)).timestamp() * 1000)
    redis_client.xadd(keys.ENGINE_EVENTS, {keys.EVENT_FIELD: b"{}"}, id=f"{old}-0")

    assert settlement.make_spend_known(over) == 0


def test_a_second_loss_begins_the_wait_anew(
    tenant: Tenant, redis_client: "redis.Redis", over: datetime
) -> None:
    use(redis_client, tenant, "before")
    lose(redis_client)
    settlement.make_spend_known(NOW)
    lose(redis_client)

    assert settlement.make_spend_known(over) == 0
    assert settlement.make_spend_known(over + timedelta(seconds=1)) == 0
    assert settlement.make_spend_known(over + (over - NOW)) == 1


def test_raising_the_floor_makes_nobody_known(tenant: Tenant, redis_client: "redis.Redis") -> None:
    use(redis_client, tenant, "before")
    lose(redis_client)

    settlement.raise_spend_floor(NOW)

    assert spent(redis_client, tenant) == COST
    assert not is_known(redis_client, tenant)
