"""Two gateway processes on one port, from their start to the first request."""

from pathlib import Path

import pytest
import redis

from gateway_hooks.contract import keys
from tests.gateway_hooks import processes
from tests.gateway_hooks.house import House
from tests.gateway_hooks.processes import OwnRedis, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_a_start_leaves_no_key_on_disk_and_its_rehearsal_reaches_no_worker_and_no_event(tmp_path: Path):
    own = OwnRedis(tmp_path)
    own.start()
    environment = processes.environment(tmp_path, own.url)
    log = tmp_path / "gateway.log"
    try:
        with (
            redis.Redis.from_url(own.url) as client,
            processes.standin_worker("worker-1", environment, tmp_path / "worker.log") as worker_url,
        ):
            house = House(url="", worker_url=worker_url, redis=client)
            house.register_worker()
            with processes.gateway(environment, log, processes=2) as house.url:
                wait_for(lambda: client.scard(keys.GATEWAYS) == 2, seconds=60, what="both processes are up")
                wait_for(
                    lambda: not list((tmp_path / "run").glob("litellm-*")),
                    seconds=60,
                    what="no configuration is left on disk",
                )
                customer = house.move_in("first")

                answer = customer.chat()

                assert answer.status_code == 200
                assert len(house.seen(customer)) == 1
                wait_for(lambda: client.xlen(keys.GATEWAY_EVENTS) > 0, seconds=10, what="an event is there")
                assert client.xlen(keys.GATEWAY_EVENTS) == 1
                assert "rehearsal" not in log.read_text()
            for opened in house.clients:
                opened.close()
    finally:
        own.kill()
