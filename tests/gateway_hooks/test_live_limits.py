"""Limits as a client meets them; the rule itself is proved in ``admission``."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec
import pytest

from gateway_hooks.contract.snapshot import Limits
from tests.gateway_hooks.house import Customer, House

pytestmark = pytest.mark.live

COST = 32
"""Micro-currency of one answer of the stand-in."""


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def chat_at_once(customer: Customer, count: int) -> list[int]:
    with ThreadPoolExecutor(count) as pool:
        return [answer.status_code for answer in pool.map(lambda _: customer.chat(), range(count))]


def test_requests_per_minute_are_never_exceeded_by_parallel_requests(house: House):
    customer = house.move_in("parallel", limits=Limits(requests_per_minute=5))

    statuses = chat_at_once(customer, 16)

    assert sorted(statuses) == [200] * 5 + [429] * 11
    assert len(house.seen(customer)) == 5


def test_a_refusal_says_when_to_come_back(house: House):
    customer = house.move_in("refused", limits=Limits(requests_per_minute=1))

    first, second = customer.chat(), customer.chat()

    assert first.headers["x-ratelimit-limit-requests"] == "1"
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    assert code_of(second) == (429, "rate_limit_requests")
    assert 50 <= int(second.headers["retry-after"]) <= 60
    event = house.event(customer, count=2)
    assert (event.outcome, event.reason, event.reserved_tokens) == ("rejected", "rate_limit_requests", 0)


def test_tokens_are_reserved_at_worst_and_settled_to_the_engines_count(house: House):
    customer = house.move_in("tokens", limits=Limits(tokens_per_minute=1000))

    first, second = customer.chat(max_tokens=100), customer.chat(max_tokens=100)

    reserved = house.event(customer, count=2).reserved_tokens
    assert 100 < reserved < 300
    assert int(first.headers["x-ratelimit-remaining-tokens"]) == 1000 - reserved
    assert int(second.headers["x-ratelimit-remaining-tokens"]) == 1000 - 17 - reserved


def test_a_request_larger_than_the_token_limit_is_refused_for_good(house: House):
    customer = house.move_in("huge", limits=Limits(tokens_per_minute=50))

    answer = customer.chat()

    assert code_of(answer) == (429, "rate_limit_tokens")
    assert "retry-after" not in answer.headers


def test_a_keys_own_limit_holds_within_its_tenants(house: House):
    customer = house.move_in("keyed", key_changes={"limits": Limits(requests_per_minute=2)})

    answers = [customer.chat() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_concurrency_is_held_while_a_request_runs(house: House):
    customer = house.move_in("busy", limits=Limits(concurrency=1))
    messages = [{"role": "user", "content": "[chunks 200] [slow]"}]
    body = {"model": "support", "messages": messages, "stream": True}

    with customer.client.stream("POST", "/v1/chat/completions", json=body) as running:
        next(running.iter_lines())
        refused = customer.chat()

    assert code_of(refused) == (429, "concurrency")


def test_a_spend_limit_is_not_overspent_by_parallel_requests(house: House):
    one = house.move_in("price-finder")
    one.chat()
    worst = house.event(one).reserved_micro
    customer = house.move_in("budget", limits=Limits(monthly_spend_micro=worst * 3))

    statuses = chat_at_once(customer, 16)

    served = statuses.count(200)
    assert statuses.count(402) == 16 - served
    assert served >= 1
    assert house.spend(customer) == served * COST <= worst * 3


def test_a_spend_limit_lowered_in_the_portal_stops_the_next_request(house: House):
    customer = house.move_in("lowered", limits=Limits(monthly_spend_micro=1_000_000))
    assert customer.chat().status_code == 200

    house.tenants[customer.tenant.id] = msgspec.structs.replace(
        customer.tenant, limits=Limits(monthly_spend_micro=COST)
    )
    house.publish_and_wait()

    assert code_of(customer.chat()) == (402, "budget_exhausted")
