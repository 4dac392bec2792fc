"""However a request ends, its slot is free, its money is settled or held, and there is one event."""

import json
import time
from collections.abc import Callable

import httpx
import pytest

from gateway_hooks.contract import keys
from gateway_hooks.contract.settlement import SETTLE
from tests.gateway_hooks.house import Customer, House
from tests.gateway_hooks.processes import wait_for

pytestmark = pytest.mark.live

CHAT = "/v1/chat/completions"


def body(text: str, **more: object) -> dict[str, object]:
    return {"model": "support", "messages": [{"role": "user", "content": text}], **more}


def is_over(house: House, customer: Customer) -> Callable[[], bool]:
    return lambda: house.slots(customer) == 0 and len(house.events(customer.tenant.id)) == 1


def test_a_client_that_hangs_up_in_mid_stream_frees_its_slot_and_leaves_the_hold(house: House):
    customer = house.move_in("mid-stream")

    with customer.client.stream("POST", CHAT, json=body("[chunks 500] [slow]", stream=True)) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        assert house.slots(customer) == 1
    wait_for(is_over(house, customer), seconds=10, what="the request is over")

    event = house.event(customer)
    assert (event.outcome, event.forwarded, event.ttft_us is not None) == ("disconnected", True, True)
    assert (event.prompt_tokens, event.completion_tokens) == (None, None)
    assert house.holds(customer) == 1
    assert house.spend(customer) == event.reserved_micro > 0
    wait_for(lambda: house.seen(customer)[0]["state"] == "aborted", seconds=5, what="the worker stopped")
    assert house.seen(customer)[0]["sent"] < 500


def test_whoever_learns_the_engines_counts_settles_the_hold_that_a_disconnect_left(house: House):
    customer = house.move_in("settled-later")
    with customer.client.stream("POST", CHAT, json=body("[chunks 500] [slow]", stream=True)) as answer:
        next(answer.iter_lines())
    wait_for(is_over(house, customer), seconds=10, what="the request is over")
    event = house.event(customer)

    done = house.redis.eval(SETTLE, 1, keys.holds(customer.tenant.id), event.request_id, 25)

    assert done == 1
    assert (house.spend(customer), house.holds(customer)) == (25, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_before_the_first_byte_frees_its_slot(house: House, *, stream: bool):
    customer = house.move_in(f"impatient-{stream}")

    with pytest.raises(httpx.ReadTimeout):
        customer.client.post(CHAT, json=body("[hang]", stream=stream), timeout=0.5)
    wait_for(is_over(house, customer), seconds=10, what="the request is over")

    event = house.event(customer)
    assert (event.outcome, event.http_status, event.ttft_us) == ("disconnected", 499, None)
    wait_for(lambda: house.seen(customer)[0]["state"] == "aborted", seconds=5, what="the worker stopped")


@pytest.mark.parametrize("stream", [False, True])
def test_the_tenants_time_limit_ends_a_request_that_hangs(house: House, *, stream: bool):
    customer = house.move_in(f"timed-{stream}", request_timeout_seconds=1)

    started = time.monotonic()
    answer = customer.chat("[hang]", stream=stream)

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    assert time.monotonic() - started < 5
    assert house.event(customer).outcome == "timeout"
    assert house.slots(customer) == 0
    wait_for(lambda: house.seen(customer)[0]["state"] == "aborted", seconds=5, what="the worker stopped")


def test_a_stream_that_takes_too_long_ends_with_an_error_event(house: House):
    customer = house.move_in("slow-stream", request_timeout_seconds=1)

    answer = customer.chat("[chunks 500] [slow]", stream=True)

    assert answer.status_code == 200
    last = answer.text.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "upstream_timeout"
    assert house.event(customer).outcome == "timeout"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (500, (502, "upstream_error")),
        (401, (502, "upstream_error")),
        (404, (502, "upstream_error")),
        (503, (503, "no_worker")),
        (429, (503, "no_worker")),
        (422, (400, "invalid_request")),
    ],
)
def test_a_worker_that_fails_gives_our_error_without_its_words(
    house: House, *, status: int, expected: tuple[int, str], stream: bool
):
    customer = house.move_in(f"failing-{status}-{stream}")

    answer = customer.chat(f"[fail {status}]", stream=stream)

    assert (answer.status_code, answer.json()["error"]["code"]) == expected
    assert "worker-7" not in answer.text
    assert "litellm" not in answer.text.lower()
    event = house.event(customer)
    assert (event.http_status, event.reason) == expected
    assert house.slots(customer) == 0
    assert len(house.seen(customer)) == 1


def test_what_the_worker_refused_costs_nothing(house: House):
    customer = house.move_in("too-long")

    answer = customer.chat("[refuse]")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert (house.spend(customer), house.holds(customer)) == (0, 0)


@pytest.mark.parametrize("endpoint", ["chat.completions", "completions", "responses", "messages"])
def test_a_worker_that_breaks_off_in_mid_stream_is_told_to_the_client(house: House, endpoint: str):
    customer = house.move_in(f"broken-{endpoint}")
    text = "[break] [slow]"
    calls = {
        "chat.completions": (CHAT, body(text)),
        "completions": ("/v1/completions", {"model": "support", "prompt": text}),
        "responses": ("/v1/responses", {"model": "support", "input": text}),
        "messages": ("/v1/messages", {**body(text), "max_tokens": 50}),
    }
    path, sent = calls[endpoint]

    answer = customer.client.post(path, json={**sent, "stream": True})

    assert '"code":"upstream_error"' in answer.text
    assert "[DONE]" not in answer.text
    assert "litellm" not in answer.text.lower()
    event = house.event(customer)
    assert (event.outcome, event.completion_tokens) == ("upstream_error", None)
    assert house.slots(customer) == 0
    assert house.holds(customer) == 1


def test_an_answer_in_hand_means_that_the_slot_is_free(house: House):
    from gateway_hooks.contract.snapshot import Limits

    customer = house.move_in("one-by-one", limits=Limits(concurrency=1))

    answers = [customer.chat(stream=bool(turn % 2)) for turn in range(10)]

    assert [answer.status_code for answer in answers] == [200] * 10


def test_a_late_disconnect_changes_nothing_of_a_completed_request(house: House):
    customer = house.move_in("completed")

    with customer.client.stream("POST", CHAT, json=body("hello", stream=True)) as answer:
        text = "".join(answer.iter_text())

    assert text.endswith("data: [DONE]\n\n")
    assert house.event(customer).outcome == "completed"
