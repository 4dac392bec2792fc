"""One tenant's change: a delta that says what a whole snapshot would have said."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from redis.asyncio import Redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Snapshot, decode_snapshot
from gateway_hooks.contract.snapshot_delta import applied, decode_delta
from gateway_hooks.snapshot_store import SnapshotStore, catch_up
from portal.adapters.models import Alias
from portal.snapshots import services, versions
from portal.snapshots.delivery import held
from portal.snapshots.models import PendingChange, PublishedSnapshot
from portal.tenants.models import ApiKey, Tenant
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def moments() -> Iterator[datetime]:
    """Later and later, and all later than what services publish by themselves meanwhile."""
    return (NOW + timedelta(days=3650, seconds=second) for second in range(1, 10_000))


def followed(client: "redis.Redis") -> Snapshot:
    """As a gateway reads it: the whole, and what leads on from there."""
    snapshot = decode_snapshot(client.get(keys.SNAPSHOT))
    for raw in client.zrange(keys.SNAPSHOT_DELTAS, 0, -1):
        delta = decode_delta(raw)
        if delta.base >= snapshot.version:
            snapshot = applied(snapshot, delta)
    return snapshot


def essence(snapshot: Snapshot) -> dict[str, Any]:
    names = ("tenants", "keys", "apps", "issuers", "pools")
    return {name: getattr(snapshot, name) for name in names}


def suspend_quietly(tenant: Tenant) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(status="suspended")
    PendingChange.objects.create(tenant_id=tenant.pk)


def test_a_change_of_one_tenant_is_delivered_as_a_delta(
    redis_client: "redis.Redis", moments: Iterator[datetime]
) -> None:
    one, other = factories.make_tenant(), factories.make_tenant()
    factories.make_key(factories.make_app(other))
    services.publish(next(moments))
    whole = redis_client.get(keys.SNAPSHOT)

    suspend_quietly(one)
    publication = services.publish(next(moments))

    assert publication == services.Publication(version=2, changed=True, delivered=True)
    assert redis_client.get(keys.SNAPSHOT) == whole
    assert held().version == 2
    assert not PendingChange.objects.exists()
    snapshot = followed(redis_client)
    assert (snapshot.version, snapshot.tenants[str(one.pk)].status) == (2, "suspended")
    assert essence(snapshot) == essence(services.build_snapshot(next(moments)))


def test_whatever_changes_the_deltas_lead_to_what_the_whole_would_say(
    redis_client: "redis.Redis", moments: Iterator[datetime]
) -> None:
    factories.make_prices()
    version = factories.make_version()
    tenant = version.adapter.tenant
    app = factories.make_app(tenant)
    stranger = factories.make_version()
    services.publish(next(moments))

    def change(step: int) -> None:
        if step == 0:
            Alias.objects.create(tenant=tenant, name="a", version=version)
        elif step == 1:
            factories.make_key(app)
        elif step == 2:
            Alias.objects.create(tenant=tenant, name="foreign", version=stranger)
        elif step == 3:
            ApiKey.objects.filter(app=app).update(revoked_at=NOW)
        else:
            Alias.objects.filter(tenant=tenant).delete()

    for step in range(5):
        change(step)
        PendingChange.objects.all().delete()
        PendingChange.objects.create(tenant_id=tenant.pk)
        services.publish(next(moments))

        assert essence(followed(redis_client)) == essence(services.build_snapshot(next(moments)))
    assert redis_client.zcard(keys.SNAPSHOT_DELTAS) >= 3


def test_what_touches_more_than_tenants_is_published_whole(
    redis_client: "redis.Redis", moments: Iterator[datetime]
) -> None:
    tenant = factories.make_tenant()
    services.publish(next(moments))
    suspend_quietly(tenant)
    services.publish(next(moments))

    PendingChange.objects.create(tenant_id=tenant.pk)
    PendingChange.objects.create()
    services.publish(next(moments))

    assert decode_snapshot(redis_client.get(keys.SNAPSHOT)).version == 3
    assert redis_client.zcard(keys.SNAPSHOT_DELTAS) == 0


def test_a_redis_that_lost_its_data_gets_the_whole_and_the_deltas(
    redis_client: "redis.Redis", moments: Iterator[datetime]
) -> None:
    tenant = factories.make_tenant()
    services.publish(next(moments))
    suspend_quietly(tenant)
    services.publish(next(moments))
    redis_client.delete(keys.SNAPSHOT, keys.SNAPSHOT_DELTAS, keys.SNAPSHOT_NEWEST)

    publication = services.redeliver(next(moments))

    assert publication == services.Publication(version=2, changed=False, delivered=True)
    assert followed(redis_client).tenants[str(tenant.pk)].status == "suspended"


def test_a_delta_that_redis_missed_arrives_with_the_next(
    redis_client: "redis.Redis", moments: Iterator[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = factories.make_tenant(), factories.make_tenant()
    services.publish(next(moments))
    suspend_quietly(one)
    with monkeypatch.context() as away:
        away.setattr(services, "_deliver", lambda *_: False)
        services.publish(next(moments))
    suspend_quietly(other)

    services.publish(next(moments))

    snapshot = followed(redis_client)
    assert (snapshot.version, {entry.status for entry in snapshot.tenants.values()}) == (3, {"suspended"})


def test_after_many_deltas_the_whole_is_written_anew_under_the_same_version(
    redis_client: "redis.Redis", moments: Iterator[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MAX_DELTAS", 3)
    tenant = factories.make_tenant()
    services.publish(next(moments))
    for _ in range(3):
        suspend_quietly(tenant)
        services.publish(next(moments))
    before = followed(redis_client)

    publication = services.redeliver(next(moments))

    assert publication.version == before.version == 4
    assert decode_snapshot(redis_client.get(keys.SNAPSHOT)) == before
    assert PublishedSnapshot.objects.filter(content__isnull=False).count() == 1
    assert versions.deltas_since_whole() == 0
    suspend_quietly(tenant)
    services.publish(next(moments))
    assert msgspec.structs.asdict(followed(redis_client))["version"] == 5


def test_a_tenant_that_is_gone_is_gone_by_delta_too(
    redis_client: "redis.Redis", moments: Iterator[datetime]
) -> None:
    app = factories.make_app()
    factories.make_key(app)
    pk = app.tenant_id
    services.publish(next(moments))

    ApiKey.objects.filter(app=app).delete()
    tenant = app.tenant
    app.delete()
    tenant.delete()
    PendingChange.objects.all().delete()
    PendingChange.objects.create(tenant_id=pk)
    services.publish(next(moments))

    snapshot = followed(redis_client)
    assert (snapshot.tenants, snapshot.keys, snapshot.apps) == ({}, {}, {})


def test_a_gateway_follows_what_the_portal_delivers(
    redis_client: "redis.Redis",  # noqa: ARG001 - empties Redis
    moments: Iterator[datetime],
    tmp_path: Path,
    settings: Any,
) -> None:
    """The two halves, one after the other: what one writes the other takes."""
    tenant = factories.make_tenant()
    services.publish(next(moments))
    store = SnapshotStore(path=tmp_path / "snapshot.json", clock=lambda: NOW)

    async def once() -> bool:
        async with Redis.from_url(settings.REDIS_URL) as client:
            return await catch_up(store, client)

    assert asyncio.run(once())
    suspend_quietly(tenant)
    services.publish(next(moments))

    assert asyncio.run(once())

    assert store.current is not None
    assert store.current.tenants[str(tenant.pk)].status == "suspended"
    assert not asyncio.run(once())
