"""Alias -> route -> worker."""

import os
from pathlib import Path

import pytest
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import encode_record
from gateway_hooks.errors import GatewayError
from gateway_hooks.routing import WorkerTable, read_workers, resolve
from tests.gateway_hooks.admission.asks import with_ledger
from tests.gateway_hooks.world import route, tenant, worker

DIGEST = "a" * 64


@pytest.fixture
def table(tmp_path: Path) -> WorkerTable:
    return WorkerTable(tmp_path / "workers.json")


def test_only_the_tenants_own_aliases_lead_anywhere():
    acme = tenant("acme", {"support": route()})

    assert resolve(acme, "support") == route()
    with pytest.raises(GatewayError) as caught:
        resolve(acme, "Support")
    assert caught.value.code == "model_not_found"


def test_the_worker_with_the_least_in_flight_is_chosen(table: WorkerTable):
    table.replace([worker("http://a", id="a"), worker("http://b", id="b")])

    chosen = []
    for _ in range(4):
        one = table.choose(route())
        table.take(one.id)
        chosen.append(one.id)
    table.give_back("b")

    assert chosen == ["a", "b", "a", "b"]
    assert table.choose(route()).id == "b"
    assert table.in_flight == 3


def test_between_equals_the_worker_that_holds_the_adapter_is_chosen(table: WorkerTable):
    table.replace([worker("http://a", id="a"), worker("http://b", id="b", adapters=(DIGEST,))])

    assert table.choose(route(DIGEST)).id == "b"
    assert table.choose(route()).id == "a"


@pytest.mark.parametrize("change", [{"state": "starting"}, {"state": "draining"}, {"pool_id": "other"}])
def test_a_worker_that_is_not_ready_or_not_of_the_pool_is_never_chosen(
    table: WorkerTable, change: dict[str, str]
):
    table.replace([worker("http://a", **change)])

    with pytest.raises(GatewayError) as caught:
        table.choose(route())

    assert caught.value.code == "no_worker"
    assert caught.value.retry_after is not None


def test_the_last_known_workers_survive_a_restart(table: WorkerTable, tmp_path: Path):
    table.replace([worker("http://a", id="a")])
    table.save()
    started_again = WorkerTable(tmp_path / "workers.json")

    started_again.load_disk()

    assert started_again.choose(route()).id == "a"


def test_a_broken_file_of_workers_is_no_reason_not_to_start(table: WorkerTable, tmp_path: Path):
    (tmp_path / "workers.json").write_text("{")

    table.load_disk()

    with pytest.raises(GatewayError):
        table.choose(route())


def test_expired_and_unreadable_records_are_left_out(redis_client: "redis.Redis"):
    redis_client.sadd(keys.WORKERS, "good", "expired", "broken")
    redis_client.set(keys.worker("good"), encode_record(worker("http://a", id="good")))
    redis_client.set(keys.worker("broken"), b"{")

    found = with_ledger(os.environ["REDIS_URL"], lambda _, client: read_workers(client))

    assert [one.id for one in found] == ["good"]
