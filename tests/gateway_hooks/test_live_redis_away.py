"""One story: Redis dies under a gateway, the gateway is started again without it, Redis comes back."""

from pathlib import Path

import pytest
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Limits
from tests.gateway_hooks import processes
from tests.gateway_hooks.house import Customer, House
from tests.gateway_hooks.processes import OwnRedis, wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def spooled(folder: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in folder.rglob("events.jsonl"))


def outcome(customer: Customer) -> tuple[int, str]:
    answer = customer.chat()
    return answer.status_code, "" if answer.status_code == 200 else answer.json()["error"]["code"]


def test_the_policy_holds_and_no_event_is_lost_while_redis_is_away(tmp_path: Path):
    own = OwnRedis(tmp_path)
    own.start()
    environment = processes.environment(tmp_path, own.url)
    refused = (503, "limits_unavailable")
    try:
        with (
            redis.Redis.from_url(own.url) as client,
            processes.standin_worker("worker-1", environment, tmp_path / "worker.log") as worker_url,
        ):
            house = House(url="", worker_url=worker_url, redis=client)
            house.register_worker()
            with processes.gateway(environment, tmp_path / "first.log") as house.url:
                allowance = {"outage_policy": "allowance", "outage_requests_per_minute": 2}
                strict = house.move_in("strict")
                lenient = house.move_in("lenient", **allowance)
                limited = house.move_in("limited", **allowance, limits=Limits(monthly_spend_micro=10**9))
                by_key = house.move_in(
                    "by-key", **allowance, key_changes={"limits": Limits(monthly_spend_micro=10**9)}
                )
                assert [outcome(c) for c in (strict, lenient, limited, by_key)] == [(200, "")] * 4
                own.kill()

                outcomes = [outcome(c) for c in (strict, limited, by_key, lenient, lenient, lenient)]

                assert outcomes == [refused, refused, refused, (200, ""), (200, ""), refused]
                wait_for(lambda: spooled(tmp_path) == 6, seconds=5, what="six events are on disk")
            with processes.gateway(environment, tmp_path / "second.log") as house.url:
                assert processes.answers(house.url + "/readyz")
                again = [
                    Customer(c.tenant, c.key, c.secret, house.client(c.secret)) for c in (strict, lenient)
                ]

                assert [outcome(c) for c in again] == [refused, (200, "")]

                own.start()
                house.register_worker()
                wait_for(
                    lambda: client.xlen(keys.GATEWAY_EVENTS) == 8, seconds=15, what="all events came back"
                )
                wait_for(
                    lambda: outcome(again[0]) == (200, ""), seconds=10, what="limits can be checked again"
                )
                events = [e for c in (strict, lenient, limited, by_key) for e in house.events(c.tenant.id)]
                assert len({e.event_id for e in events}) == len(events)
                assert spooled(tmp_path) == 0
            for opened in house.clients:
                opened.close()
    finally:
        own.kill()
