"""From a change in the registry to Redis: what is in it, when a version is new, and what fails well."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Limits, Snapshot, decode_snapshot
from gateway_hooks.contract.snapshot_delta import applied, decode_delta
from gateway_hooks.contract.snapshot_mark import Mark
from portal.adapters.models import Alias
from portal.snapshots import services, versions
from portal.snapshots.delivery import deliver, held
from portal.snapshots.models import PendingChange, PublishedSnapshot
from portal.tenants.models import ApiKey, Tenant
from portal.tenants.services import revoke_key, suspend
from tests import factories
from tests.factories import NOW
from tests.services import PrivateRedis


def in_redis(client: "redis.Redis") -> Snapshot:
    """As a gateway reads it: the whole, and what leads on from there."""
    raw = client.get(keys.SNAPSHOT)
    assert isinstance(raw, bytes)
    snapshot = decode_snapshot(raw)
    for change in client.zrange(keys.SNAPSHOT_DELTAS, 0, -1):
        delta = decode_delta(change)
        if delta.base >= snapshot.version:
            snapshot = applied(snapshot, delta)
    return snapshot


@pytest.mark.django_db
class TestContent:
    def test_an_override_beats_the_tier_and_a_key_has_limits_of_its_own(self) -> None:
        tier = factories.make_tier(requests_per_minute=60, tokens_per_minute=1000)
        tenant = factories.make_tenant(
            tier=tier, requests_per_minute=5, monthly_spend_limit=Decimal("0.000001")
        )
        issued = factories.make_key(factories.make_app(tenant), concurrency=2)

        snapshot = services.build_snapshot(NOW)

        limits = snapshot.tenants[str(tenant.pk)].limits
        assert limits == Limits(requests_per_minute=5, tokens_per_minute=1000, monthly_spend_micro=1)
        assert snapshot.keys[issued.key.pk].limits == Limits(concurrency=2)

    def test_keys_that_are_revoked_or_expired_are_absent(self) -> None:
        app = factories.make_app()
        usable = factories.make_key(app).key
        revoke_key(key=factories.make_key(app).key, now=NOW)
        factories.make_key(app, expires_at=NOW + timedelta(seconds=1))

        snapshot = services.build_snapshot(NOW + timedelta(seconds=1))

        assert set(snapshot.keys) == {usable.pk}

    def test_a_suspended_tenant_stays_in_with_its_status_and_keys(self) -> None:
        app = factories.make_app()
        key = factories.make_key(app).key
        suspend(app.tenant)

        snapshot = services.build_snapshot(NOW)

        assert snapshot.tenants[str(app.tenant_id)].status == "suspended"
        assert key.pk in snapshot.keys

    def test_an_alias_leads_to_its_pool_artifact_and_exact_price(self) -> None:
        rate = factories.make_prices(given="0.000001", cached="0", output="1.5")
        version = factories.make_version()
        tenant = version.adapter.tenant
        Alias.objects.create(tenant=tenant, name="assistant", version=version)
        Alias.objects.create(tenant=tenant, name="base")

        aliases = services.build_snapshot(NOW).tenants[str(tenant.pk)].aliases

        assert aliases["assistant"].adapter_digest == version.digest
        assert aliases["assistant"].pool_id == aliases["base"].pool_id == str(tenant.pool_id)
        assert aliases["base"].adapter_digest is None
        price = aliases["base"].price
        assert price is not None
        assert (price.rate_id, price.currency) == (str(rate.pk), "USD")
        assert (price.input_micro, price.cached_input_micro, price.output_micro) == (1, 0, 1_500_000)

    def test_an_alias_without_a_price_has_none(self) -> None:
        tenant = factories.make_tenant()
        Alias.objects.create(tenant=tenant, name="base")

        route = services.build_snapshot(NOW).tenants[str(tenant.pk)].aliases["base"]

        assert route.price is None

    def test_an_alias_to_another_tenants_version_is_left_out_even_if_it_got_into_the_database(self) -> None:
        foreign = factories.make_version()
        tenant = factories.make_tenant(pool=foreign.adapter.tenant.pool)
        Alias.objects.create(tenant=tenant, name="assistant", version=foreign)

        assert services.build_snapshot(NOW).tenants[str(tenant.pk)].aliases == {}

    def test_an_alias_whose_pool_serves_another_base_model_is_left_out(self) -> None:
        version = factories.make_version(base_model="another")
        Alias.objects.create(tenant=version.adapter.tenant, name="assistant", version=version)

        assert services.build_snapshot(NOW).tenants[str(version.adapter.tenant_id)].aliases == {}

    def test_the_number_of_queries_does_not_grow_with_the_tenants(self) -> None:
        def queries_with(tenants: int) -> int:
            for _ in range(tenants):
                version = factories.make_version()
                Alias.objects.create(tenant=version.adapter.tenant, name="a", version=version)
                factories.make_key(factories.make_app(version.adapter.tenant))
            with CaptureQueriesContext(connection) as captured:
                services.build_snapshot(NOW)
            return len(captured)

        factories.make_prices()

        few, many = queries_with(1), queries_with(5)

        assert few == many == 13

    def test_no_secret_is_in_it(self) -> None:
        issued = factories.make_key()

        text = repr(services.build_snapshot(NOW))

        assert issued.secret not in text
        assert issued.secret.rpartition("-")[2] not in text


@pytest.mark.django_db(transaction=True)
class TestPublishing:
    def test_a_snapshot_begins_with_its_version_so_that_redis_can_compare_without_parsing(
        self, redis_client: "redis.Redis"
    ) -> None:
        services.publish(NOW)

        raw = redis_client.get(keys.SNAPSHOT)

        assert isinstance(raw, bytes)
        assert raw.startswith(b'{"version":1,')
        assert held() == Mark(1, NOW)

    def test_an_older_version_never_replaces_a_newer_one(self, redis_client: "redis.Redis") -> None:
        took_newer = deliver(Mark(10, NOW), b'{"version":10,"new":1}')
        took_older = deliver(Mark(9, NOW), b'{"version":9,"old":1}')

        assert (took_newer, took_older) == (True, False)
        assert redis_client.get(keys.SNAPSHOT) == b'{"version":10,"new":1}'

    def test_a_version_reaches_redis_with_a_message_of_its_number(self, redis_client: "redis.Redis") -> None:
        factories.make_tenant()
        channel = redis_client.pubsub(ignore_subscribe_messages=True)
        channel.subscribe(keys.SNAPSHOT_CHANGED)
        channel.get_message(timeout=5)

        publication = services.publish(NOW)

        assert publication == services.Publication(version=1, changed=True, delivered=True)
        message = channel.get_message(timeout=5)
        channel.close()
        assert message is not None
        assert message["data"] == b"1"
        assert in_redis(redis_client).version == 1

    def test_the_same_content_is_no_new_version(self, redis_client: "redis.Redis") -> None:
        factories.make_tenant()
        services.publish(NOW)

        again = services.publish(NOW + timedelta(hours=1))

        assert again == services.Publication(version=1, changed=False, delivered=True)
        assert in_redis(redis_client).published_at == NOW

    def test_a_committed_change_is_published_and_one_rolled_back_is_not(
        self, redis_client: "redis.Redis"
    ) -> None:
        tenant = factories.make_tenant()
        services.publish(NOW)

        class Undo(Exception):  # noqa: N818 - it is no error
            pass

        def suspend_and_undo() -> None:
            with transaction.atomic():
                suspend(tenant)
                raise Undo

        with pytest.raises(Undo):
            suspend_and_undo()
        after_rollback = in_redis(redis_client)
        suspend(tenant)

        assert after_rollback.tenants[str(tenant.pk)].status == "active"
        assert in_redis(redis_client).tenants[str(tenant.pk)].status == "suspended"
        assert not PendingChange.objects.exists()

    def test_only_the_newest_version_keeps_its_content(self, redis_client: "redis.Redis") -> None:  # noqa: ARG002
        factories.make_tenant()
        services.publish(NOW)

        factories.make_tenant()
        PendingChange.objects.create()
        services.publish(NOW + timedelta(seconds=1))

        kept = PublishedSnapshot.objects.filter(content__isnull=False)
        assert [row.version for row in kept] == [2]

    def test_the_caller_is_told_what_became_of_it(self, redis_client: "redis.Redis") -> None:  # noqa: ARG002
        told: list[services.Publication] = []
        factories.make_tenant()

        with transaction.atomic():
            services.publish_after_commit(told.append)

        assert told == [services.Publication(version=1, changed=True, delivered=True)]


@pytest.mark.django_db(transaction=True)
class TestRedelivery:
    def test_what_redis_lost_is_written_again_with_the_same_version(
        self, redis_client: "redis.Redis"
    ) -> None:
        factories.make_tenant()
        services.publish(NOW)
        redis_client.flushall()

        services.redeliver(NOW)

        assert in_redis(redis_client).version == 1

    def test_a_version_never_goes_back_after_redis_was_emptied(self, redis_client: "redis.Redis") -> None:
        tenant = factories.make_tenant()
        services.publish(NOW)
        redis_client.flushall()

        suspend(tenant)

        assert in_redis(redis_client).version == 2

    def test_a_version_exceeds_what_redis_holds_after_postgresql_came_back_from_a_backup(
        self, redis_client: "redis.Redis"
    ) -> None:
        factories.make_tenant()
        redis_client.set(keys.SNAPSHOT, b'{"version":41,"tenants":{}}')

        services.redeliver(NOW)

        assert in_redis(redis_client).version == 42

    def test_a_key_that_expires_is_published_by_the_passing_of_time(
        self, redis_client: "redis.Redis"
    ) -> None:
        key = factories.make_key(expires_at=NOW + timedelta(minutes=1)).key
        PendingChange.objects.create()
        services.publish(NOW)

        early = services.redeliver(NOW + timedelta(seconds=59))
        due = services.redeliver(NOW + timedelta(seconds=60))

        assert not early.changed
        assert due.changed
        assert key.pk not in in_redis(redis_client).keys

    def test_a_price_book_that_becomes_effective_is_published_by_the_passing_of_time(
        self, redis_client: "redis.Redis"
    ) -> None:
        tenant = factories.make_tenant()
        Alias.objects.create(tenant=tenant, name="base")
        factories.make_prices(effective_from=NOW + timedelta(minutes=1))
        services.publish(NOW)

        services.redeliver(NOW + timedelta(minutes=1))

        assert in_redis(redis_client).tenants[str(tenant.pk)].aliases["base"].price is not None

    def test_a_change_whose_process_died_before_publishing_is_published(
        self, redis_client: "redis.Redis"
    ) -> None:
        tenant = factories.make_tenant()
        services.publish(NOW)
        # What a commit leaves when nothing after it runs.
        Tenant.objects.filter(pk=tenant.pk).update(status="suspended")
        PendingChange.objects.create()

        services.redeliver(NOW)

        assert in_redis(redis_client).tenants[str(tenant.pk)].status == "suspended"

    def test_when_nothing_is_due_it_costs_six_queries(
        self,
        redis_client: "redis.Redis",  # noqa: ARG002
        django_assert_num_queries: Any,
    ) -> None:
        factories.make_tenant()
        services.publish(NOW)

        with django_assert_num_queries(6):
            services.redeliver(NOW + timedelta(seconds=1))


@pytest.fixture
def own_redis(private_redis: Callable[[], PrivateRedis], settings: Any) -> PrivateRedis:
    server = private_redis()
    settings.REDIS_URL = server.url
    return server


@pytest.mark.django_db(transaction=True)
class TestRedisAway:
    def test_the_change_is_kept_and_delivered_when_redis_is_back(self, own_redis: PrivateRedis) -> None:
        tenant = factories.make_tenant()
        services.publish(NOW)
        own_redis.stop()

        suspend(tenant)
        away = services.redeliver(NOW)
        own_redis.start()
        back = services.redeliver(NOW)

        assert not away.delivered
        assert back == services.Publication(version=2, changed=False, delivered=True)
        with redis.Redis.from_url(own_redis.url) as client:
            assert in_redis(client).tenants[str(tenant.pk)].status == "suspended"
        assert PublishedSnapshot.objects.get(version=2).delivered_at == NOW


@pytest.mark.django_db(transaction=True)
class TestConcurrency:
    """Two publishers: one reads the registry, then waits while the other's change is published."""

    def test_without_the_lock_an_older_reading_is_stored_as_the_newest(
        self, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(versions, "_serialise", lambda: None)

        stored = self._race(monkeypatch, redis_client)

        assert stored == "revoked key is in it"

    def test_with_the_lock_the_newest_version_has_every_committed_change(
        self, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = self._race(monkeypatch, redis_client)

        assert stored == "revoked key is gone"

    def test_many_changes_at_once_all_arrive(self, redis_client: "redis.Redis") -> None:
        issued = [factories.make_key().key for _ in range(8)]
        services.publish(NOW)

        def revoke(key: ApiKey) -> None:
            try:
                revoke_key(key=key, now=NOW)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(revoke, issued))

        assert in_redis(redis_client).keys == {}
        assert in_redis(redis_client).version == PublishedSnapshot.objects.count()

    def _race(self, monkeypatch: pytest.MonkeyPatch, redis_client: "redis.Redis") -> str:
        """The slow one has read the registry before the key is revoked, and stores after the fast one."""
        key = factories.make_key().key
        factories.make_tenant()
        PendingChange.objects.create()  # so that the slow publisher has something new to say
        has_read, may_store = threading.Event(), threading.Event()
        assemble = versions.assemble
        slow = threading.Thread(target=self._publish_slowly)

        def reading(*, now: Any, version: int, only: Any = None) -> Snapshot:
            snapshot = assemble(now=now, version=version, only=only)
            if threading.current_thread() is slow:
                has_read.set()
                # With the lock the fast publisher waits for this one: then nobody ends the wait early.
                may_store.wait(timeout=2)
                return assemble_as(snapshot, version=PublishedSnapshot.objects.count() + 1)
            return snapshot

        monkeypatch.setattr(versions, "assemble", reading)
        slow.start()
        assert has_read.wait(timeout=10)
        revoke_key(key=key, now=NOW)
        may_store.set()
        slow.join(timeout=20)

        newest = PublishedSnapshot.objects.first()
        assert newest is not None
        served = in_redis(redis_client)
        assert served.version == newest.version
        return "revoked key is in it" if key.pk in served.keys else "revoked key is gone"

    @staticmethod
    def _publish_slowly() -> None:
        try:
            services.publish(NOW)
        finally:
            connections.close_all()


def assemble_as(snapshot: Snapshot, *, version: int) -> Snapshot:
    import msgspec

    return msgspec.structs.replace(snapshot, version=version)
