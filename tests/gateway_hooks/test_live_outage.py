"""Redis goes away at every moment of a request, hanging or dead, and comes back."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec
import pytest

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import App, Limits
from tests.gateway_hooks.house import Customer
from tests.gateway_hooks.processes import wait_for
from tests.gateway_hooks.town import CHAT, LONG, Crowd, Town, code_of, open_town

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

AWAY = (503, "limits_unavailable")
ALLOWANCE = {"outage_policy": "allowance", "outage_requests_per_minute": 3}
LIMITS = Limits(requests_per_minute=20, tokens_per_minute=20_000, concurrency=5)
COST = 17
"""Tokens of one answer of the stand-in."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The second gateway is killed by one test."""
    with open_town(tmp_path_factory.mktemp("town"), gateways=2) as opened:
        opened.probe = opened.move_in("probe")
        yield opened


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    made = Crowd()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def redis_is_back(town: Town) -> Iterator[None]:
    town.seats_at_once(None)
    yield
    bring_back(town)


def hang(town: Town) -> None:
    """Nothing is lost, and what is sent meanwhile it runs later."""
    town.own.pause()


def die(town: Town) -> None:
    """Everything is lost."""
    town.own.kill()


def bring_back(town: Town) -> None:
    """As the portal and the workers do it, where it lost everything."""
    if town.own.is_running:
        town.own.resume()
    else:
        town.own.start()
    town.register_worker()
    for tenant_id in town.tenants:
        town.redis.set(keys.spend_known(tenant_id), 1)
    town.publish_and_wait()
    wait_for(lambda: all(serves_many(town, url) for url in town.urls), seconds=30, what="limits are checked")
    wait_for(lambda: town.spooled() == 0, seconds=15, what="the spools are empty")


def serves_many(town: Town, url: str) -> bool:
    """At once: a gateway's connections to the Redis that died fail one by one, each when it is used next."""
    headers = {"authorization": f"Bearer {town.probe.secret}"}
    body = {"model": "support", "messages": [{"role": "user", "content": "hello"}]}
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(httpx.post, url + CHAT, json=body, headers=headers, timeout=30) for _ in range(8)]
        return all(one.result().status_code == 200 for one in sent)


@pytest.mark.parametrize("away", [hang, die])
@pytest.mark.parametrize("outcome", ["completed", "disconnected"])
def test_a_request_that_ends_while_redis_is_away_is_told_once_and_gives_all_back(
    town: Town, crowd: Crowd, away: Callable[[Town], None], outcome: str
):
    customer = town.move_in(f"{outcome}-{away.__name__}", limits=LIMITS)
    request = crowd.ask(customer, "[chunks 40] [slow]", url=town.urls[0])
    wait_for(lambda: town.running(customer) == 1, seconds=10, what="it runs")

    away(town)
    if outcome == "disconnected":
        request.cancel()
    else:
        assert "[DONE]" in request.result(10).text
    wait_for(lambda: town.spooled() == 1, seconds=10, what="its event is on disk")
    bring_back(town)

    lost_in_redis = away is die
    holds = int(outcome == "disconnected" and not lost_in_redis)
    (event,) = town.ended(customer, outcome, holds=holds)
    used = event.reserved_tokens if outcome == "disconnected" else 11 + 40
    wait_for(lambda: town.tokens(customer) == used, seconds=10, what="its tokens are counted")
    assert town.requests(customer) == 1
    if not lost_in_redis:
        assert town.spend(customer) == (event.reserved_micro if holds else 7 + 1 + 4 * 40)


def test_who_waits_while_redis_hangs_is_served_afterwards(town: Town, crowd: Crowd):
    town.seats_at_once(1)
    customer = town.move_in("patient", queue_wait_ms=60_000)
    running = crowd.ask(customer, "[chunks 40] [slow]", url=town.urls[0])
    town.wait_for_seats(1)
    waiting = crowd.ask(customer, "hello", stream=False, url=town.urls[0])
    gone = crowd.ask(customer, "hello", url=town.urls[0])
    town.wait_for_seats(1, waiting=2)

    hang(town)
    gone.cancel()
    assert "[DONE]" in running.result(10).text
    wait_for(lambda: town.spooled() == 2, seconds=10, what="both ends are on disk")
    bring_back(town)

    assert waiting.result(20).status_code == 200
    town.ended(customer, "completed", "completed", "disconnected", holds=0)


def test_who_waits_while_redis_dies_is_told_to_come_back(town: Town, crowd: Crowd):
    town.seats_at_once(1)
    customer = town.move_in("place-lost", queue_wait_ms=60_000)
    running = crowd.ask(customer, "[chunks 40] [slow]", url=town.urls[0])
    town.wait_for_seats(1)
    waiting = crowd.ask(customer, "hello", stream=False, url=town.urls[0])
    town.wait_for_seats(1, waiting=1)

    die(town)
    assert "[DONE]" in running.result(10).text
    bring_back(town)

    answer = waiting.result(20)
    assert code_of(answer) == (429, "queue_timeout")
    assert int(answer.headers["retry-after"]) >= 1
    town.ended(customer, "completed", "rejected", holds=0)


def test_an_admission_whose_answer_never_came_leaves_no_trace(town: Town):
    customer = town.move_in("unheard", limits=LIMITS)

    hang(town)
    answers = [customer.chat() for _ in range(3)]
    bring_back(town)

    assert [code_of(answer) for answer in answers] == [AWAY] * 3
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    town.ended(customer, "rejected", "rejected", "rejected", holds=0)
    wait_for(lambda: not town.requests(customer), seconds=10, what="its window is empty")
    assert (town.tokens(customer), town.spend(customer)) == (0, 0)
    assert town.seen(customer) == []


@pytest.mark.parametrize("away", [hang, die])
def test_what_ran_on_the_allowance_is_counted_when_redis_is_back(town: Town, away: Callable[[Town], None]):
    customer = town.move_in(f"allowed-{away.__name__}", limits=LIMITS, **ALLOWANCE)

    away(town)
    answers = [customer.chat() for _ in range(5)]
    bring_back(town)

    assert [answer.status_code for answer in answers] == [200] * 3 + [503] * 2
    town.ended(customer, *["completed"] * 3, *["rejected"] * 2, holds=0)
    wait_for(
        lambda: (town.requests(customer), town.tokens(customer)) == (3, 3 * COST),
        seconds=15,
        what="three are counted",
    )


def test_nobody_with_a_spend_limit_is_served_while_redis_is_away(town: Town):
    customers = {
        f"{scope} {period}": limited(town, scope, Limits(**{period: 10**9}))
        for scope in ("tenant", "app", "key", "user")
        for period in ("daily_spend_micro", "monthly_spend_micro")
    }
    before = {name: customer.chat(user="somebody").status_code for name, customer in customers.items()}

    hang(town)
    away = {name: code_of(customer.chat(user="somebody")) for name, customer in customers.items()}
    bring_back(town)

    assert before == dict.fromkeys(customers, 200)
    assert away == dict.fromkeys(customers, AWAY)
    assert all(len(town.seen(customer)) == 1 for customer in customers.values())
    for customer in customers.values():
        town.ended(customer, "completed", "rejected", holds=0)
        assert town.spend(customer) % 32 == 0


def test_a_gateway_that_dies_with_its_events_on_disk_is_told_of_once(town: Town, crowd: Crowd):
    customer = town.move_in("spooled", limits=LIMITS)
    url = town.urls[1]
    ending, _lost = (crowd.ask(customer, LONG, url=url) for _ in range(2))
    wait_for(lambda: town.running(customer) == 2, seconds=20, what="both run")

    hang(town)
    ending.cancel()
    wait_for(lambda: town.spooled() == 1, seconds=10, what="its event is on disk")
    process = town.gateways.pop(url)
    process.kill()
    process.wait(10)
    bring_back(town)

    town.wait_until_empty(customer, seconds=30)
    wait_for(lambda: len(town.told(customer)) == 2, seconds=15, what="both are told of")
    assert len({event.request_id for event in town.told(customer)}) == 2
    assert town.holds(customer) == 2


def limited(town: Town, scope: str, limits: Limits) -> Customer:
    (period,) = (name for name, value in msgspec.structs.asdict(limits).items() if value)
    name = f"{scope}-{period.partition('_')[0]}"
    if scope == "app":
        app_id = f"app-of-tenant-{name}"
        town.apps[app_id] = App(id=app_id, tenant_id=f"tenant-{name}", name="App", limits=limits)
    at = {
        "tenant": {"limits": limits},
        "app": {},
        "key": {"key_changes": {"limits": limits}},
        "user": {"end_user_limits": limits},
    }
    return town.move_in(name, **ALLOWANCE, **at[scope])
