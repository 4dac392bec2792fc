"""Keys and bodies that are not good enough, each with its code; and how fast a revoked key is out."""

import json
import socket
import time
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest

from gateway_hooks.contract.api_keys import new_key
from tests.gateway_hooks.house import House
from tests.gateway_hooks.processes import wait_for
from tests.gateway_hooks.world import NOW, POOL, route

pytestmark = pytest.mark.live

LIMIT = 2 * 1024 * 1024
CHAT = "/v1/chat/completions"


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_malformed_unknown_and_wrong_keys_look_the_same(house: House):
    customer = house.move_in("locked")
    _, unknown = new_key()
    wrong = customer.secret[:-1] + ("0" if customer.secret[-1] != "0" else "1")

    answers = [house.client(key).post(CHAT, json={}) for key in ("hello", "sk-tn-", unknown, wrong)]

    assert {code_of(answer) for answer in answers} == {(401, "invalid_api_key")}
    assert len({answer.text for answer in answers}) == 1


def test_no_key_an_expired_key_and_a_suspended_tenant_have_their_own_codes(house: House):
    expired = house.move_in("expired", key_changes={"expires_at": NOW - timedelta(days=1)})
    suspended = house.move_in("suspended", status="suspended")

    bare = httpx.post(house.url + CHAT, json={})

    assert code_of(bare) == (401, "missing_api_key")
    assert code_of(expired.chat()) == (401, "key_expired")
    assert code_of(suspended.chat()) == (403, "tenant_suspended")


def test_a_revoked_key_is_out_within_a_second(house: House):
    customer = house.move_in("revoked")
    assert customer.chat().status_code == 200

    del house.keys[customer.key.id]
    house.publish()
    published = time.monotonic()
    wait_for(lambda: customer.chat().status_code == 401, seconds=5, what="the key is refused")

    assert time.monotonic() - published < 1


def test_an_unidentified_request_leaves_an_event_without_tenant(house: House):
    before = len(house.events(None))

    answer = house.client("sk-tn-nobody").post(CHAT, json={})

    wait_for(lambda: len(house.events(None)) > before, seconds=5, what="the event is there")
    event = house.events(None)[-1]
    assert event.request_id == answer.headers["x-request-id"]
    assert (event.outcome, event.reason, event.http_status) == ("rejected", "invalid_api_key", 401)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(house: House, body: bytes):
    customer = house.move_in(f"garbler-{body[:9].hex()}")

    answer = customer.client.post(CHAT, content=body)

    assert code_of(answer) == (400, "invalid_json")


def test_a_large_body_is_refused_before_it_is_read(house: House):
    customer = house.move_in("large")

    announced = customer.client.post(CHAT, content=b"x" * (LIMIT + 1))

    assert code_of(announced) == (413, "body_too_large")


def test_a_chunked_body_without_a_length_is_held_to_the_same_cap(house: House):
    customer = house.move_in("chunked")
    parts = urlsplit(house.url)
    chunk = b"%x\r\n" % 65536 + b"x" * 65536 + b"\r\n"
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {customer.secret}\r\n"
        "transfer-encoding: chunked\r\n\r\n"
    )

    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(head.encode())
        for _ in range(LIMIT // 65536 + 1):
            connection.sendall(chunk)
        answer = ""
        # Head and body may come in two pieces.
        while "body_too_large" not in answer and (piece := connection.recv(65536).decode()):
            answer += piece

    assert answer.startswith("HTTP/1.1 413")
    assert "body_too_large" in answer


BAD_VALUES = [
    ({"temperature": 9}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"n": 0}, "n"),
    ({"n": 9}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"stream": "yes"}, "stream"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "root", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user"}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    ({"model": ["support"]}, "model"),
    ({"logit_bias": {"a": 1}}, "logit_bias"),
    ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    ({"stop": ["x"] * 17}, "stop"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"seed": 1 << 70}, "seed"),
]


@pytest.mark.parametrize(("change", "param"), BAD_VALUES, ids=lambda value: str(value)[:40])
def test_a_value_out_of_range_is_refused_by_name(house: House, change: dict[str, object], param: str):
    customer = house.move_in(f"ranger-{abs(hash(json.dumps(change)))}")
    body = {"model": "support", "messages": [{"role": "user", "content": "hello"}], **change}

    answer = customer.client.post(CHAT, json=body)

    assert code_of(answer) == (400, "invalid_parameter")
    assert answer.json()["error"]["param"] == param


def test_parameters_that_the_engine_supports_reach_it(house: House):
    customer = house.move_in("tuner")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    sent = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "seed": 7,
        "stop": ["END"],
        "frequency_penalty": 0.5,
        "presence_penalty": 0.25,
        "repetition_penalty": 1.5,
        "logit_bias": {"5": 1.0},
        "logprobs": True,
        "top_logprobs": 2,
        "tools": [tool],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
    }

    answer = customer.chat(**sent)

    assert answer.status_code == 200
    body = house.seen(customer)[0]["body"]
    assert {name: body.get(name) for name in sent} == sent


def test_an_endpoint_that_the_pool_does_not_serve_is_refused(house: House):
    customer = house.move_in("embedder", aliases={"support": route(pool_id="elsewhere")})

    answer = customer.chat()

    assert code_of(answer) == (503, "no_worker")
    assert "elsewhere" not in answer.text
    assert POOL.id not in answer.text


def test_a_model_without_a_price_is_refused(house: House):
    customer = house.move_in("unpriced", aliases={"support": route(price=None)})

    answer = customer.chat()

    assert code_of(answer) == (403, "price_missing")


def test_health_and_readiness_need_no_key_and_say_nothing(house: House):
    live = httpx.get(house.url + "/healthz")
    ready = httpx.get(house.url + "/readyz")

    assert (live.status_code, live.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
