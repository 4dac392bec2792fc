"""A full pool before two gateways: who waits, who is turned away, and whose turn it is."""

import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import httpx
import pytest

from gateway_hooks.contract.snapshot import Limits
from tests.gateway_hooks.house import Customer
from tests.gateway_hooks.processes import wait_for
from tests.gateway_hooks.town import Crowd, Town, code_of, open_town

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

QUICK = "[chunks 2] [slow]"
"""A stream of a tenth of a second."""
PATIENT: dict[str, Any] = {"queue_depth": 200, "queue_wait_ms": 100_000}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with open_town(tmp_path_factory.mktemp("town"), gateways=2) as opened:
        yield opened


@pytest.fixture
def crowd(town: Town) -> Iterator[Crowd]:
    made = Crowd()
    yield made
    made.close()
    town.wait_until_empty()


def test_the_third_waits_and_is_served_when_a_seat_is_free(town: Town, crowd: Crowd):
    town.seats_at_once(2)
    customer = town.move_in("third")
    first = [crowd.ask(customer, url=url) for url in town.urls]
    wait_for(lambda: town.running(customer) == 2, seconds=10, what="two run")

    third = crowd.ask(customer, QUICK, url=town.urls[1])
    town.wait_for_seats(2, waiting=1)
    assert len(town.seen(customer)) == 2
    first[0].cancel()

    assert third.result(10).status_code == 200
    assert "[DONE]" in third.result().text
    first[1].cancel()
    events = town.ended(customer, "completed", "disconnected", "disconnected", holds=2)
    waits = {event.outcome: event.queue_us or 0 for event in events}
    assert waits["completed"] > 0 == waits["disconnected"]
    assert all(event.http_status == 200 for event in events if event.outcome == "completed")


def test_who_finds_the_queue_full_is_turned_away_and_leaves_no_trace(town: Town, crowd: Crowd):
    town.seats_at_once(1)
    customer = town.move_in("full", queue_depth=1, limits=Limits(requests_per_minute=10))
    others = [crowd.ask(customer, url=town.urls[0])]
    town.wait_for_seats(1)
    others.append(crowd.ask(customer, url=town.urls[1]))
    town.wait_for_seats(1, waiting=1)
    spent = town.spend(customer)

    refused = crowd.ask(customer, url=town.urls[0]).result(10)

    assert code_of(refused) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    assert (town.requests(customer), town.slots(customer), town.holds(customer)) == (2, 2, 2)
    assert town.spend(customer) == spent
    (event,) = town.events(customer.tenant.id)
    assert (event.outcome, event.reason, event.forwarded) == ("rejected", "queue_full", False)
    hang_up(*others)
    town.ended(customer, "rejected", "disconnected", "disconnected", holds=1)


@pytest.mark.parametrize("gateway", [0, 1])
def test_who_has_waited_long_enough_is_turned_away_and_leaves_no_trace(
    town: Town, crowd: Crowd, gateway: int
):
    town.seats_at_once(1)
    customer = town.move_in(
        f"late-{gateway}", queue_wait_ms=400, limits=Limits(requests_per_minute=10, concurrency=5)
    )
    running = crowd.ask(customer, url=town.urls[0])
    town.wait_for_seats(1)
    spent = town.spend(customer)

    refused = crowd.ask(customer, url=town.urls[gateway]).result(10)

    assert code_of(refused) == (429, "queue_timeout")
    assert int(refused.headers["retry-after"]) >= 1
    town.wait_for_seats(1)
    assert (town.requests(customer), town.slots(customer), town.holds(customer)) == (1, 1, 1)
    assert town.spend(customer) == spent
    (event,) = town.events(customer.tenant.id)
    assert (event.reason, event.http_status, event.forwarded) == ("queue_timeout", 429, False)
    assert (event.queue_us or 0) >= 400_000
    hang_up(running)
    town.ended(customer, "rejected", "disconnected", holds=1)


def test_a_client_that_hangs_up_while_it_waits_leaves_the_queue_at_once(town: Town, crowd: Crowd):
    town.seats_at_once(1)
    customer = town.move_in("impatient", limits=Limits(requests_per_minute=10, concurrency=5))
    running = crowd.ask(customer, url=town.urls[0])
    town.wait_for_seats(1)
    spent = town.spend(customer)
    waiting = crowd.ask(customer, url=town.urls[1])
    town.wait_for_seats(1, waiting=1)

    waiting.cancel()
    town.wait_for_seats(1)

    wait_for(lambda: town.events(customer.tenant.id), seconds=10, what="its event is there")
    (event,) = town.events(customer.tenant.id)
    assert (event.outcome, event.http_status, event.forwarded) == ("disconnected", 499, False)
    assert (town.requests(customer), town.slots(customer), town.holds(customer)) == (1, 1, 1)
    assert town.spend(customer) == spent
    hang_up(running)
    town.ended(customer, "disconnected", "disconnected", holds=1)


def test_the_service_class_comes_before_the_weight(town: Town, crowd: Crowd):
    town.seats_at_once(1)
    heavy = town.move_in("heavy", band=1, weight=10)
    urgent = town.move_in("urgent", band=0, weight=1)
    running = crowd.ask(heavy, url=town.urls[0])
    town.wait_for_seats(1)
    late = [crowd.ask(heavy, QUICK, url=url) for url in town.urls]
    town.wait_for_seats(1, waiting=2)
    early = crowd.ask(urgent, QUICK, url=town.urls[1])
    town.wait_for_seats(1, waiting=3)

    hang_up(running)

    assert [one.result(10).status_code for one in (early, *late)] == [200] * 3
    assert served(town, heavy, urgent) == ["tenant-heavy", "tenant-urgent", "tenant-heavy", "tenant-heavy"]


def test_two_backlogged_tenants_are_served_by_their_weights(town: Town, crowd: Crowd):
    town.seats_at_once(1)
    light = town.move_in("light", **PATIENT, weight=1)
    heavy = town.move_in("weighty", **PATIENT, weight=3)
    first = occupy(town, crowd, town.move_in("first"))
    backlog(town, crowd, 60, light)
    backlog(town, crowd, 120, heavy)
    town.wait_for_seats(1, waiting=180)

    hang_up(first)
    wait_for(lambda: len(served(town, light, heavy)) >= 120, seconds=90, what="120 are served")

    counts = Counter(served(town, light, heavy)[:120])
    assert 2 <= counts["tenant-weighty"] / counts["tenant-light"] <= 4.5


def test_a_tenant_that_was_idle_shares_evenly_from_the_moment_it_comes(town: Town, crowd: Crowd):
    town.seats_at_once(1)
    busy = town.move_in("steady", **PATIENT, band=1)
    newcomer = town.move_in("newcomer", **PATIENT, band=1)
    urgent = town.move_in("first-again", band=0)
    first = occupy(town, crowd, urgent)
    backlog(town, crowd, 60, busy)
    town.wait_for_seats(1, waiting=60)
    hang_up(first)
    wait_for(lambda: len(served(town, busy)) >= 20, seconds=30, what="one had the pool for itself")
    second = occupy(town, crowd, urgent)
    before = len(served(town, busy))
    backlog(town, crowd, 30, newcomer)
    wait_for(lambda: town.waiting >= 60 - before + 30, seconds=20, what="the newcomer waits")

    hang_up(second)
    wait_for(lambda: len(served(town, busy, newcomer)) >= before + 24, seconds=30, what="24 are served")

    counts = Counter(served(town, busy, newcomer)[before : before + 24])
    assert 8 <= counts["tenant-newcomer"] <= 16


def test_the_headers_say_how_much_is_left(town: Town):
    town.seats_at_once(None)
    customer = town.move_in("headers", limits=Limits(requests_per_minute=2, tokens_per_minute=5000))

    answers = [customer.chat(max_tokens=50) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    left = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers]
    assert left == [1, 0, 0]
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-limit-tokens"] == "5000"
        assert 0 < int(answer.headers["x-ratelimit-remaining-tokens"]) < 5000
        assert answer.headers["x-ratelimit-reset-requests"] == "60s"
    assert "retry-after" not in answers[0].headers
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60


@pytest.mark.parametrize("stream", [False, True])
def test_output_is_clamped_to_what_the_limits_leave(town: Town, *, stream: bool):
    town.seats_at_once(None)
    limits = Limits(tokens_per_minute=300)
    customer = town.move_in(f"clamped-{stream}", clamp_output=True, limits=limits)

    answer = customer.chat(max_tokens=250, stream=stream)

    assert answer.status_code == 200
    event = town.event(customer)
    sent = town.seen(customer)[0]["body"]["max_tokens"]
    assert event.clamped
    assert (event.max_output_tokens, event.reserved_tokens) == (sent, 300)
    assert 0 < sent == 300 - (event.counted_prompt_tokens or 0) < 250


def occupy(town: Town, crowd: Crowd, customer: Customer) -> "Future[httpx.Response]":
    """The only seat is taken until the request hangs up."""
    running = crowd.ask(customer, url=town.urls[0])
    wait_for(lambda: town.running(customer) == 1, seconds=20, what="the seat is taken")
    return running


def backlog(town: Town, crowd: Crowd, count: int, customer: Customer) -> None:
    """Short requests, through all gateways in turn."""
    for _, url in zip(range(count), itertools.cycle(town.urls), strict=False):
        crowd.ask(customer, "hello", stream=False, url=url)


def served(town: Town, *customers: Customer) -> list[str]:
    """Their tenants' ids in the order in which the worker got the requests."""
    ids = {customer.tenant.id for customer in customers}
    entries = httpx.get(town.worker_url + "/seen", timeout=10).json()
    return [tenant for entry in entries if (tenant := entry.get("identity", {}).get("tenant_id")) in ids]


def hang_up(*requests: "Future[httpx.Response]") -> None:
    for request in requests:
        request.cancel()
