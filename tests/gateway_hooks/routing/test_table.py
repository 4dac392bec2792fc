"""The workers last seen, and where they are read from."""

import os
from pathlib import Path

import pytest
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.fleet import encode_record
from gateway_hooks.routing import WorkerTable, read_workers
from gateway_hooks.routing.choice import best
from tests.gateway_hooks.admission.cases import with_ledger
from tests.gateway_hooks.world import route, worker


@pytest.fixture
def table(tmp_path: Path) -> WorkerTable:
    return WorkerTable(tmp_path / "workers.json")


def chosen(table: WorkerTable) -> str | None:
    found = best(table.workers.values(), route(), in_flight=table.loads)
    return found.id if found else None


def test_the_worker_with_the_least_in_flight_is_chosen(table: WorkerTable):
    table.replace([worker("http://a", id="a"), worker("http://b", id="b")])

    went = []
    for _ in range(4):
        went.append(chosen(table))
        table.take(went[-1] or "")
    table.give_back("b")

    assert went == ["a", "b", "a", "b"]
    assert chosen(table) == "b"
    assert table.in_flight == 3


@pytest.mark.parametrize("change", [{"state": "starting"}, {"state": "draining"}, {"pool_id": "other"}])
def test_a_worker_that_is_not_ready_or_not_of_the_pool_is_never_chosen(
    table: WorkerTable, change: dict[str, str]
):
    table.replace([worker("http://a", **change)])

    assert chosen(table) is None


def test_the_last_known_workers_survive_a_restart(table: WorkerTable, tmp_path: Path):
    table.replace([worker("http://a", id="a")])
    table.save()
    started_again = WorkerTable(tmp_path / "workers.json")

    started_again.load_disk()

    assert chosen(started_again) == "a"


def test_a_broken_file_of_workers_is_no_reason_not_to_start(table: WorkerTable, tmp_path: Path):
    (tmp_path / "workers.json").write_text("{")

    table.load_disk()

    assert chosen(table) is None


def test_expired_and_unreadable_records_are_left_out(redis_client: "redis.Redis"):
    redis_client.sadd(keys.WORKERS, "good", "expired", "broken")
    redis_client.set(keys.worker("good"), encode_record(worker("http://a", id="good")))
    redis_client.set(keys.worker("broken"), b"{")

    found = with_ledger(os.environ["REDIS_URL"], lambda _, client: read_workers(client))

    assert [one.id for one in found] == ["good"]
