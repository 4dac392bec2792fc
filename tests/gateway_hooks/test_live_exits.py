"""However a request ends, and whatever happens to its gateway: one checker for all of it.

No seat, no place in the queue and no lease is left, money is settled or held as stated, one event is told.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import NamedTuple

import httpx
import pytest

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import Limits
from gateway_hooks.contract.usage import GatewayEvent
from tests.gateway_hooks.house import Customer
from tests.gateway_hooks.processes import wait_for
from tests.gateway_hooks.town import LONG, Crowd, Town, last_error, open_town

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

HELD = 1
Request = Future[httpx.Response]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The first gateway serves all tests; one test ends the second, and one the third."""
    with open_town(tmp_path_factory.mktemp("town"), gateways=3) as opened:
        yield opened


@pytest.fixture(scope="module")
def gateways(town: Town) -> list[str]:
    return town.urls


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    made = Crowd()
    yield made
    made.close()


def answered(_town: Town, _customer: Customer, request: Request) -> None:
    request.result(20)


def hung_up_early(town: Town, customer: Customer, request: Request) -> None:
    wait_for(lambda: town.seen(customer), seconds=10, what="the worker has it")
    request.cancel()


def hung_up_late(town: Town, customer: Customer, request: Request) -> None:
    wait_for(lambda: town.running(customer) == 1, seconds=10, what="a part of the answer is there")
    request.cancel()


class Exit(NamedTuple):
    text: str
    stream: bool
    outcome: str
    holds: int
    wait: Callable[[Town, Customer, Request], None] = answered
    seconds: int = 20


EXITS = {
    "answer": Exit("hello", False, "completed", 0),
    "stream end": Exit("hello", True, "completed", 0),
    "hung up before the answer": Exit("[hang]", False, "disconnected", HELD, hung_up_early),
    "hung up before the stream": Exit("[hang]", True, "disconnected", HELD, hung_up_early),
    "hung up in mid-stream": Exit(LONG, True, "disconnected", HELD, hung_up_late),
    "refused by the worker": Exit("[refuse]", False, "rejected", 0),
    "refused stream": Exit("[fail 422]", True, "rejected", 0),
    "worker busy": Exit("[fail 503]", True, "upstream_error", 0),
    "worker failed": Exit("[fail 500]", False, "upstream_error", HELD),
    "worker broke": Exit("[drop]", False, "upstream_error", HELD),
    "worker broke in mid-stream": Exit("[break] [slow]", True, "upstream_error", HELD),
    "worker slow": Exit("[hang]", False, "timeout", HELD, seconds=1),
    "stream slow": Exit(LONG, True, "timeout", HELD, seconds=1),
    "worker says more than it may": Exit("[chunks 1000]", True, "upstream_error", HELD),
}


@pytest.mark.parametrize("name", EXITS)
def test_an_exit_gives_back_what_was_taken(town: Town, crowd: Crowd, gateways: list[str], name: str):
    end = EXITS[name]
    town.seats_at_once(None)
    limits = Limits(requests_per_minute=10, tokens_per_minute=10_000, concurrency=3)
    customer = town.move_in(name.replace(" ", "-"), limits=limits, request_timeout_seconds=end.seconds)

    request = crowd.ask(customer, end.text, url=gateways[0], stream=end.stream, max_tokens=100)
    end.wait(town, customer, request)

    (event,) = town.ended(customer, end.outcome, holds=end.holds)
    assert event.forwarded
    assert town.requests(customer) == 1
    assert town.tokens(customer) == (event.reserved_tokens if end.holds else used(event))
    assert town.spend(customer) == (event.reserved_micro if end.holds else spent(event))


@pytest.mark.parametrize("endpoint", ["chat.completions", "completions", "responses", "messages"])
def test_a_worker_that_ignores_the_output_cap_is_cut_off(town: Town, endpoint: str):
    customer = town.move_in(f"overrun-{endpoint}")
    text = "[chunks 2000] [slow]"
    messages = {"messages": [{"role": "user", "content": text}], "max_tokens": 5}
    calls = {
        "chat.completions": ("/v1/chat/completions", {**messages, "n": 2}),
        "completions": ("/v1/completions", {"prompt": text, "max_tokens": 5}),
        "responses": ("/v1/responses", {"input": text, "max_output_tokens": 5}),
        "messages": ("/v1/messages", messages),
    }
    path, body = calls[endpoint]

    answer = customer.client.post(path, json={"model": "support", "stream": True, **body})

    assert last_error_of(answer) == "upstream_error"
    assert answer.text.count("\ndata:") < 100
    town.ended(customer, "upstream_error", holds=HELD)
    wait_for(lambda: town.seen(customer)[0]["state"] == "aborted", seconds=10, what="the worker stopped")
    assert town.seen(customer)[0]["sent"] < 100


def test_a_gateway_that_is_told_to_stop_finishes_what_it_can_and_tells_of_all(
    town: Town, crowd: Crowd, gateways: list[str]
):
    url = gateways[1]
    town.seats_at_once(3)
    customer = town.move_in("stopped", request_timeout_seconds=60)
    cut = [crowd.ask(customer, text, url=url) for text in ("[chunks 2000] [slow]", "[hang]")]
    short = crowd.ask(customer, "[chunks 30] [slow]", url=url)
    wait_for(lambda: len(town.seen(customer)) == 3, seconds=10, what="three run")
    waiting = crowd.ask(customer, url=url, text="hello", stream=False)
    town.wait_for_seats(3, waiting=1)

    process = town.gateways.pop(url)
    process.terminate()

    assert "[DONE]" in short.result(20).text
    assert waiting.result(20).status_code == 200
    process.wait(40)
    outcomes = ["completed", "completed", "gateway_error", "gateway_error"]
    events = town.ended(customer, *outcomes, holds=2)
    assert len(town.events(customer.tenant.id)) == 4
    assert {event.reason for event in events if event.outcome == "gateway_error"} == {"gateway_stopped"}
    assert all(one.exception(10) or "[DONE]" not in one.result().text for one in cut)


def test_a_gateway_that_is_killed_loses_nothing_that_others_do_not_give_back(
    town: Town, crowd: Crowd, gateways: list[str]
):
    url = gateways[2]
    town.seats_at_once(3)
    limits = Limits(requests_per_minute=20, concurrency=10)
    customer = town.move_in("killed", limits=limits, queue_wait_ms=60_000)
    survivor = town.move_in("survivor", request_timeout_seconds=60)
    kept = crowd.ask(survivor, "[chunks 240] [slow]", url=gateways[0])
    wait_for(lambda: town.running(survivor) == 1, seconds=10, what="the other gateway's runs")
    for text in (LONG, "[hang]", "[chunks 1]"):
        crowd.ask(customer, text, url=url)
        wait_for(lambda: town.seated + town.waiting == 1 + len(asked(town, customer)), seconds=10, what="it")
    town.wait_for_seats(3, waiting=1)

    process = town.gateways.pop(url)
    process.kill()
    process.wait(10)
    wait_for(lambda: (town.seated, town.waiting) == (1, 0), seconds=12, what="the seats are given back")

    wait_for(lambda: len(town.told(customer)) == 3, seconds=10, what="they are told of")
    lost = town.told(customer)
    assert [event.outcome for event in lost] == ["gateway_lost"] * 3
    assert sorted(event.forwarded for event in lost) == [False, True, True]
    assert "[DONE]" in kept.result(30).text
    town.ended(survivor, "completed", holds=0)
    events = town.ended(customer, *["gateway_lost"] * 3, holds=3, seconds=25)
    assert len(town.events(customer.tenant.id)) == 3
    assert town.spend(customer) == sum(event.reserved_micro for event in events)


def asked(town: Town, customer: Customer) -> set[str]:
    """Ids of the customer's requests that are admitted."""
    return set(town.redis.zrange(keys.leases(customer.tenant.id, keys.TENANT_SCOPE), 0, -1))


def used(event: GatewayEvent) -> int:
    return (event.prompt_tokens or 0) + (event.completion_tokens or 0)


def spent(event: GatewayEvent) -> int:
    """At the prices of ``world``, per token."""
    cached, prompt = event.cached_tokens or 0, event.prompt_tokens or 0
    return (prompt - cached) + -(-cached // 4) + 4 * (event.completion_tokens or 0)


def last_error_of(answer: httpx.Response) -> str:
    """Also of an event with a name."""
    last = answer.text.strip().split("\n\n")[-1]
    return last_error(httpx.Response(200, text=last.split("\n")[-1]))
