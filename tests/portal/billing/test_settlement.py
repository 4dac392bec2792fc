"""The counters in Redis follow the ledger: never below it, in the tenant's own month."""

from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.conf import settings

from gateway_hooks.contract import keys
from portal.billing import services, settlement
from portal.billing.models import LedgerEntry
from portal.billing.months import bounds_of, month_of
from portal.tenants.models import Tenant
from portal.usage.models import PendingRequest
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


def use(client: "redis.Redis", tenant: Tenant, *names: str, at: datetime = NOW, key_id: str = "abc") -> None:
    for name in names:
        send(client, gateway_event(tenant, name, ts=at, key_id=key_id), engine_event(tenant, name, ts=at))
    ingest(NOW)
    services.rate_requests(NOW)


def spent(client: "redis.Redis", tenant: Tenant, scope: str, month: str = "2026-11") -> int:
    return int(client.get(keys.spend(str(tenant.pk), scope, month)) or -1)


def test_counters_that_redis_lost_start_again_from_the_ledger(redis_client: "redis.Redis") -> None:
    make_book(("1", "0.1", "3.333333"))
    tenant = make_tenant(make_pool())
    use(redis_client, tenant, "r1", "r2")
    use(redis_client, tenant, "r3", key_id="def")
    redis_client.flushall()

    settlement.raise_spend_floor(NOW)

    assert spent(redis_client, tenant, "tenant") == 3 * 131
    assert spent(redis_client, tenant, "key.abc") == 2 * 131
    assert spent(redis_client, tenant, "key.def") == 131
    assert redis_client.ttl(keys.spend(str(tenant.pk), "tenant", "2026-11")) > 0


def test_a_counter_above_the_ledger_is_left_alone(redis_client: "redis.Redis") -> None:
    make_book(("1", "1", "1"))
    tenant = make_tenant(make_pool())
    use(redis_client, tenant, "r1")
    redis_client.set(keys.spend(str(tenant.pk), "tenant", "2026-11"), 5000)

    settlement.raise_spend_floor(NOW)

    assert spent(redis_client, tenant, "tenant") == 5000


def test_a_month_turns_at_midnight_of_the_tenants_zone(redis_client: "redis.Redis") -> None:
    make_book(("1", "1", "1"))
    tenant = make_tenant(make_pool(), billing_timezone="Asia/Tokyo")
    turn = datetime(2026, 10, 31, 15, 0, tzinfo=UTC)
    use(redis_client, tenant, "before", at=turn - timedelta(seconds=1))
    use(redis_client, tenant, "after", at=turn)
    redis_client.flushall()

    settlement.raise_spend_floor(NOW)

    assert spent(redis_client, tenant, "tenant") == 120


def test_months_have_bounds_in_their_zone() -> None:
    assert month_of(datetime(2026, 10, 31, 15, 0, tzinfo=UTC), "Asia/Tokyo") == "2026-11"
    assert bounds_of("2026-11", "Asia/Tokyo")[0] == datetime(2026, 10, 31, 15, 0, tzinfo=UTC)
    assert bounds_of("2026-12") == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def test_while_redis_is_away_entries_are_written_and_holds_settled_later(
    redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    make_book(("1", "1", "1"))
    tenant = make_tenant(make_pool())
    hold(redis_client, tenant, "r1", 9999)
    send(redis_client, gateway_event(tenant, "r1"), engine_event(tenant, "r1"))
    ingest(NOW)

    with monkeypatch.context() as away:
        away.setattr(settings, "REDIS_URL", "redis://127.0.0.1:1/0")
        services.rate_requests(NOW)
    entries, waiting = LedgerEntry.objects.count(), PendingRequest.objects.count()
    services.rate_requests(NOW)

    assert (entries, waiting) == (1, 1)
    assert not PendingRequest.objects.exists()
    assert spent(redis_client, tenant, "tenant") == 120
