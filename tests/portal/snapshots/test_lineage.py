"""After one of PostgreSQL and Redis lost data, equal numbers may mean different configurations."""

import importlib
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import redis
from django.apps import apps

from gateway_hooks.contract.snapshot import SCHEMA_VERSION
from portal.snapshots import services, versions
from portal.snapshots.models import PendingChange, PublishedSnapshot
from portal.tenants.models import Tenant
from tests import factories
from tests.factories import NOW
from tests.portal.snapshots.test_deltas import followed, suspend_quietly

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def moments() -> Iterator[datetime]:
    return (NOW + timedelta(days=3650, seconds=second) for second in range(1, 10_000))


def restored(tenant: Tenant) -> None:
    """PostgreSQL is back at version 1, before ``tenant`` was suspended."""
    PublishedSnapshot.objects.filter(version=2).delete()
    PublishedSnapshot.objects.update(content=b'{"version":1,"tenants":{}}')
    Tenant.objects.filter(pk=tenant.pk).update(status="active")


@pytest.mark.parametrize("meanwhile", [1, 2])
def test_what_was_published_while_redis_held_an_older_line_is_served(
    redis_client: "redis.Redis",
    moments: Iterator[datetime],
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: int,
) -> None:
    """With one publication the numbers are equal, with two the delta's base only seems to fit."""
    one, two = factories.make_tenant(), factories.make_tenant()
    services.publish(next(moments))
    suspend_quietly(one)
    services.publish(next(moments))
    restored(one)
    with monkeypatch.context() as away:
        away.setattr(services, "_held_or_none", lambda: None)
        for _ in range(meanwhile):
            suspend_quietly(two)
            services.publish(next(moments))

    publication = services.redeliver(next(moments))

    snapshot = followed(redis_client)
    assert publication == services.Publication(version=meanwhile + 2, changed=True, delivered=True)
    assert snapshot.version == meanwhile + 2
    assert snapshot.tenants[str(two.pk)].status == "suspended"
    assert snapshot.tenants[str(one.pk)].status == "active"


def test_what_redis_refused_is_not_called_delivered(
    redis_client: "redis.Redis",  # noqa: ARG001 - empties Redis
    moments: Iterator[datetime],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant = factories.make_tenant()
    services.publish(next(moments))
    suspend_quietly(tenant)
    with monkeypatch.context() as refusing:
        refusing.setattr(services, "_deliver_one", lambda *_: False)
        refusing.setattr(services, "deliver", lambda *_: False)
        publication = services.publish(next(moments))

    assert not publication.delivered
    assert PublishedSnapshot.objects.get(version=2).delivered_at is None
    assert services.redeliver(next(moments)).delivered


def test_no_delta_leads_on_from_a_snapshot_of_another_schema(
    redis_client: "redis.Redis", moments: Iterator[datetime]
) -> None:
    one, other = factories.make_tenant(), factories.make_tenant()
    services.publish(next(moments))
    PublishedSnapshot.objects.update(schema_version=SCHEMA_VERSION - 1)
    suspend_quietly(one)

    services.publish(next(moments))

    newest = PublishedSnapshot.objects.get(version=2)
    assert (newest.delta, newest.schema_version) == (None, SCHEMA_VERSION)
    assert followed(redis_client).tenants[str(other.pk)].band == 3


def test_a_release_with_another_schema_publishes_anew_by_itself(
    redis_client: "redis.Redis",  # noqa: ARG001 - empties Redis
    moments: Iterator[datetime],
) -> None:
    factories.make_tenant()
    services.publish(next(moments))
    PublishedSnapshot.objects.update(schema_version=SCHEMA_VERSION - 1)

    assert services.redeliver(next(moments)).version == 2
    assert services.redeliver(next(moments)).version == 2


def test_the_migration_notes_that_all_is_to_be_published(redis_client: "redis.Redis") -> None:  # noqa: ARG001
    migration = importlib.import_module("portal.snapshots.migrations.0003_schema_version")

    migration.publish_anew(apps, None)
    assert not PendingChange.objects.exists()
    services.publish(NOW)
    migration.publish_anew(apps, None)

    assert [change.tenant_id for change in PendingChange.objects.all()] == [None]


def test_whole_and_deltas_name_the_newest(redis_client: "redis.Redis", moments: Iterator[datetime]) -> None:  # noqa: ARG001
    tenant = factories.make_tenant()
    services.publish(next(moments))
    suspend_quietly(tenant)
    services.publish(next(moments))

    everything = versions.whole_and_deltas()

    newest = PublishedSnapshot.objects.get(version=2)
    assert everything.newest == (2, newest.published_at)
    assert [delta.version for delta in everything.deltas] == [2]
