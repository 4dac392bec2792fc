"""What workers and gateways report becomes rows; node rates have a past that stays."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import GatewayRecord, OpenBreaker, WorkerRecord, encode_record
from portal.fleet import selectors
from portal.fleet.errors import FleetError
from portal.fleet.models import GatewayProcess, Worker
from portal.fleet.services import FORGET_AFTER, kv_bytes_of, learn_kv_bytes, set_node_rate, sync_fleet
from portal.snapshots.models import PublishedSnapshot
from tests import factories
from tests.factories import NOW

WORKER = WorkerRecord(
    id="w1",
    boot_id="b1",
    pool_id="0",
    url="http://127.0.0.1:8100",
    state="ready",
    base_model="demo-model",
    device="cpu",
    max_num_seqs=8,
    kv_cache_tokens=4096,
    vllm_version="0.32.0",
    started_at=NOW,
    seen_at=NOW,
    adapters=("a" * 64,),
)
GATEWAY = GatewayRecord(
    id="g1",
    host="gw.example",
    pid=7,
    url="http://127.0.0.1:8200",
    snapshot_version=12,
    snapshot_loaded_at=NOW,
    snapshot_source="redis",
    started_at=NOW,
    seen_at=NOW,
)


def report(client: "redis.Redis", *records: WorkerRecord | GatewayRecord) -> None:
    for record in records:
        worker = isinstance(record, WorkerRecord)
        client.sadd(keys.WORKERS if worker else keys.GATEWAYS, record.id)
        client.set(keys.worker(record.id) if worker else keys.gateway(record.id), encode_record(record))


@pytest.mark.django_db
class TestKvBytes:
    CONFIG = {"num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2, "hidden_size": 64}

    def test_what_a_pool_leaves_empty_is_learnt_from_its_models_folder(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps(self.CONFIG))
        unknown = factories.make_pool(model=str(tmp_path))
        given = factories.make_pool(model=str(tmp_path), kv_bytes_per_token=7)
        factories.make_pool(model="somebody/elsewhere")

        first, again = learn_kv_bytes(), learn_kv_bytes()

        unknown.refresh_from_db()
        given.refresh_from_db()
        assert (first, again) == (1, 0)
        assert (unknown.kv_bytes_per_token, given.kv_bytes_per_token) == (4 * 2 * 2 * 8 * 2, 7)

    @pytest.mark.parametrize("text", ["", "[]", "7", '{"num_hidden_layers": 4}'])
    def test_a_folder_that_does_not_say_leaves_it_unknown(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "config.json").write_text(text)

        assert kv_bytes_of(str(tmp_path)) is None


@pytest.mark.django_db
class TestSync:
    def test_breakers_and_silent_workers_are_kept_as_the_gateway_tells_them(
        self, redis_client: "redis.Redis"
    ) -> None:
        breaker = OpenBreaker(worker_id="w1", since=NOW, tenant_id="t", adapter_digest="d")
        report(redis_client, msgspec.structs.replace(GATEWAY, breakers=(breaker,), unhealthy=("w2",)))

        sync_fleet(NOW)

        row = GatewayProcess.objects.get()
        assert row.unhealthy == ["w2"]
        (kept,) = row.breakers
        assert (kept["worker_id"], kept["adapter_digest"], kept["half_open"]) == ("w1", "d", False)

    def test_records_become_rows_and_follow_changes(self, redis_client: "redis.Redis") -> None:
        pool = factories.make_pool()
        worker = msgspec.structs.replace(WORKER, pool_id=str(pool.pk))
        report(redis_client, worker, GATEWAY)

        first = sync_fleet(NOW)
        report(redis_client, msgspec.structs.replace(worker, state="draining"))
        sync_fleet(NOW)

        assert first == (1, 1)
        row = Worker.objects.get()
        assert (row.state, row.pool, row.adapters) == ("draining", pool, ["a" * 64])
        assert GatewayProcess.objects.get().snapshot_version == 12

    def test_a_worker_of_a_pool_that_does_not_exist_is_left_out(self, redis_client: "redis.Redis") -> None:
        report(redis_client, WORKER)

        assert sync_fleet(NOW) == (0, 0)

    def test_a_record_that_cannot_be_read_does_not_hide_the_others(
        self, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
    ) -> None:
        report(redis_client, GATEWAY)
        redis_client.sadd(keys.GATEWAYS, "broken")
        redis_client.set(keys.gateway("broken"), b'{"id": 5}')

        assert sync_fleet(NOW) == (0, 1)
        assert "broken" in caplog.text

    def test_ids_of_those_that_crashed_are_forgotten_and_their_rows_stay(
        self, redis_client: "redis.Redis"
    ) -> None:
        worker = msgspec.structs.replace(WORKER, pool_id=str(factories.make_pool().pk), outbox_bytes=9)
        report(redis_client, worker, GATEWAY, msgspec.structs.replace(GATEWAY, id="g2"))
        sync_fleet(NOW)
        redis_client.delete(keys.worker("w1"), keys.gateway("g1"))

        assert sync_fleet(NOW) == (0, 1)

        assert redis_client.smembers(keys.WORKERS) == set()
        assert redis_client.smembers(keys.GATEWAYS) == {b"g2"}
        assert Worker.objects.get().outbox_bytes == 9
        assert GatewayProcess.objects.count() == 2

    def test_gateways_that_have_been_gone_for_long_are_forgotten(self, redis_client: "redis.Redis") -> None:
        report(redis_client, GATEWAY)
        sync_fleet(NOW)
        redis_client.flushall()

        sync_fleet(NOW + FORGET_AFTER)
        kept = GatewayProcess.objects.count()
        sync_fleet(NOW + FORGET_AFTER + timedelta(seconds=1))

        assert (kept, GatewayProcess.objects.count()) == (1, 0)


@pytest.mark.django_db
class TestConfigurationOfGateways:
    def words(self, now: Any, **fields: Any) -> str:
        values = {
            "id": "g1",
            "host": "gw",
            "pid": 7,
            "snapshot_version": 12,
            "snapshot_source": "redis",
            "started_at": NOW,
            "seen_at": now,
        }
        GatewayProcess.objects.create(**{**values, **fields})
        row: Any = selectors.gateways_with_lag().get()
        return selectors.serving(row, newest=row.newest_version, behind_since=row.behind_since, now=now).text

    @pytest.fixture(autouse=True)
    def versions(self) -> None:
        for version, seconds in ((12, 0), (13, 10), (14, 20)):
            at = NOW + timedelta(seconds=seconds)
            PublishedSnapshot.objects.create(version=version, published_at=at, checked_at=at, digest="d")

    def test_behind_counts_from_the_first_version_that_it_lacks(self) -> None:
        assert self.words(NOW + timedelta(seconds=24)) == "serves 12, newest 14: behind for 14 s"

    def test_the_newest_is_said_to_be_the_newest(self) -> None:
        assert self.words(NOW, snapshot_version=14) == "serves 14, the newest"

    def test_one_that_is_gone_serves_no_more(self) -> None:
        assert self.words(NOW + timedelta(minutes=1), seen_at=NOW) == "served 12"

    def test_one_without_a_configuration_says_so(self) -> None:
        assert self.words(NOW, snapshot_version=0, snapshot_source="none") == "serves nothing yet"


@pytest.mark.django_db
class TestNodeRates:
    def test_only_the_first_rate_of_a_pool_may_begin_in_the_past(self) -> None:
        pool = factories.make_pool()
        past = NOW - timedelta(days=20)
        first = set_node_rate(
            pool=pool, hourly_rate=Decimal("2.5"), currency="USD", effective_from=past, now=NOW
        )

        with pytest.raises(FleetError) as refused:
            set_node_rate(
                pool=pool,
                hourly_rate=Decimal(3),
                currency="USD",
                effective_from=NOW - timedelta(seconds=1),
                now=NOW,
            )

        assert first.effective_from == past
        assert refused.value.code == "node_rate_in_the_past"
