"""Canaries in every place that a client can write, and a look at everything that is written afterwards."""

import base64
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from tests.gateway_hooks.gateway.masking.policies import policy
from tests.gateway_hooks.house import SECONDS, Customer
from tests.gateway_hooks.processes import wait_for
from tests.gateway_hooks.scripted_house import ScriptedHouse, open_scripted_house

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

MARK = "cnry7f3a"
"""Stands in every canary, whatever its place, and nowhere else."""
OVERSIZE = 3 * 1024 * 1024


def canary(place: str) -> str:
    return f"{MARK}-{place}"


@pytest.fixture(
    scope="module", params=["gateway_hooks", "tests.gateway_hooks.loud_gateway"], ids=["off", "on"]
)
def scripted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ScriptedHouse]:
    """With LiteLLM's message logging off, as delivered, and on. All that it writes is in one folder."""
    folder: Path = tmp_path_factory.mktemp("privacy")
    (folder / "tmp").mkdir()
    with open_scripted_house(folder, extra={"TMPDIR": str(folder / "tmp")}, module=request.param) as opened:
        yield opened


def jwt_like() -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"iss": canary("issuer"), "sub": canary("subject")}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, canary("signature")])


TOKEN = jwt_like()
FORBIDDEN = (MARK, *TOKEN.split(".")[:2])


def history() -> list[dict[str, Any]]:
    call = {"name": "send", "arguments": json.dumps({canary("key"): canary("argument")})}
    return [
        {"role": "system", "content": canary("system")},
        {"role": "user", "content": [{"type": "text", "text": canary("part")}], "name": canary("name")},
        {
            "role": "assistant",
            "content": canary("answer"),
            "reasoning_content": canary("reasoning"),
            "tool_calls": [{"id": canary("id"), "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": canary("id"), "content": canary("result")},
        {"role": "user", "content": f"{canary('prompt')} {MARK}@example.org"},
    ]


def chat_body(**changes: Any) -> dict[str, Any]:
    function = {
        "name": "send",
        "description": canary("description"),
        "parameters": {"type": "object", "properties": {canary("property"): {"type": "string"}}},
    }
    return {
        "model": "support",
        "messages": history(),
        "tools": [{"type": "function", "function": function}],
        "stop": [canary("stop")],
        "user": canary("user"),
        "metadata": {canary("metadata"): canary("metadata-value")},
        "safety_identifier": canary("safety"),
        "prompt_cache_key": canary("cache"),
        **changes,
    }


HEADERS = {
    "user-agent": canary("agent"),
    "x-request-id": canary("request-id"),
    "x-litellm-call-id": canary("call-id"),
    "x-litellm-tags": canary("tags"),
    "cookie": f"session={canary('cookie')}",
    "traceparent": canary("traceparent"),
    "referer": canary("referer"),
    "openai-organization": canary("organization"),
    "idempotency-key": canary("idempotency"),
}


def calls() -> list[tuple[str, dict[str, Any]]]:
    text = f"{canary('text')} {MARK}@example.org"
    return [
        ("/v1/chat/completions", chat_body()),
        ("/v1/completions", {"model": "support", "prompt": text, "user": canary("user")}),
        ("/v1/embeddings", {"model": "support", "input": text}),
        ("/v1/responses", {"model": "support", "input": text, "instructions": canary("instructions")}),
        (
            "/v1/messages",
            {
                "model": "support",
                "max_tokens": 9,
                "system": canary("system"),
                "messages": [{"role": "user", "content": text}],
                "metadata": {"user_id": canary("user")},
            },
        ),
    ]


def refused_bodies() -> list[bytes]:
    bodies = [
        chat_body(model=canary("model")),
        chat_body(temperature=canary("temperature")),
        chat_body(messages=canary("messages")),
        chat_body(messages=[{"role": canary("role"), "content": "x"}]),
        chat_body(tool_choice=canary("choice")),
        chat_body(messages=[{"role": "user", "content": [{"type": "image_url", "text": canary("image")}]}]),
        {"model": "support", "messages": history(), "n": canary("n")},
        {"model": {"name": canary("model-object")}, "messages": history()},
    ]
    return [
        *(json.dumps(body).encode() for body in bodies),
        f'{{"model": "support", "messages": [{canary("broken")}'.encode(),
        f'"{canary("string")}"'.encode(),
        json.dumps(
            chat_body(messages=[{"role": "user", "content": canary("big") + "x" * OVERSIZE}])
        ).encode(),
        b"\xff\xfe" + canary("bytes").encode(),
    ]


def everything(house: ScriptedHouse) -> dict[str, bytes]:
    """What all processes wrote: files, and every value in Redis."""
    written = {str(path): path.read_bytes() for path in house.folder.rglob("*") if path.is_file()}
    for name in house.redis.scan_iter("*"):
        written[f"redis {name!r}"] = name + repr(value_of(house.redis, name)).encode()
    return written


def value_of(client: "redis.Redis", name: bytes) -> Any:
    kind = client.type(name).decode()
    if kind == "string":
        return client.get(name)
    if kind == "hash":
        return client.hgetall(name)
    if kind == "set":
        return client.smembers(name)
    if kind == "zset":
        return client.zrange(name, 0, -1, withscores=True)
    return client.xrange(name) if kind == "stream" else client.lrange(name, 0, -1)


def leaks(written: dict[str, bytes], *forbidden: str) -> list[tuple[str, str]]:
    return [
        (place, text)
        for place, raw in written.items()
        for text in (*FORBIDDEN, *forbidden)
        if text.lower().encode() in raw.lower()
    ]


def secrets_of(customer: Customer) -> list[str]:
    """The customer's key, and what the gateway signs and salts with."""
    ours = [
        os.environ[name] for name in ("TENANTRY_SALT_SECRET", "TENANTRY_IDENTITY_KEYS") if name in os.environ
    ]
    return [customer.secret, *ours]


def flood(house: ScriptedHouse, customer: Customer) -> list[httpx.Response]:
    """Every place at once; what a client reads of errors comes back."""
    client, errors = customer.client, []
    for script in (
        {"content": f"{{last}} {canary('written')}", "reasoning": canary("thought"), "by": 5},
        {"status": 500, "error": f"{{last}} {canary('upstream')} at worker-7"},
        {"status": 400, "error": f"maximum context length: {{last}} {canary('upstream')}"},
        {"status": 422, "error": f"{{last}} {canary('upstream')}"},
        {"content": "A text that breaks off.", "by": 1, "error": f"{{last}} {canary('in-stream')}"},
    ):
        house.script(customer, **script)
        for path, body in calls():
            for stream in (False, True):
                sent = body if path == "/v1/embeddings" else {**body, "stream": stream}
                answer = client.post(f"{path}?q={canary('query')}", json=sent, headers=HEADERS)
                if "error" in script and ("status" in script or (stream and "embed" not in path)):
                    errors.append(answer)
    for raw in refused_bodies():
        errors.append(client.post("/v1/chat/completions", content=raw, headers=HEADERS))  # noqa: PERF401
    return errors + bad_keys(house) + bad_paths(client)


def error_of(answer: httpx.Response) -> bytes:
    """A stream's last event; what comes before may repeat the request to its sender."""
    return answer.content.rpartition(b"data:")[2]


def bad_keys(house: ScriptedHouse) -> list[httpx.Response]:
    client = house.client("nobody")
    tokens = [canary("key"), f"sk-{canary('key')}", TOKEN, f"tnk_{canary('key')}_x"]
    answers = [
        client.post("/v1/chat/completions", json=chat_body(), headers={"authorization": kind + token})
        for token in tokens
        for kind in ("Bearer ", "Basic ", "")
    ]
    answers.append(client.post("/v1/messages", json={}, headers={"x-api-key": canary("api-key")}))
    answers.append(client.get("/v1/models", headers={"authorization": f"Bearer {TOKEN}"}))
    return answers


def bad_paths(client: httpx.Client) -> list[httpx.Response]:
    paths = [f"/{canary('path')}", f"/v1/models/{canary('model')}", f"/v1/chat/completions/{canary('path')}"]
    return [client.get(path) for path in paths] + [client.post(path, json=chat_body()) for path in paths]


def raw_garbage(house: ScriptedHouse) -> None:
    """Bytes that are no HTTP, and a client that hangs up in mid-body."""
    host, port = urlsplit(house.url).hostname, urlsplit(house.url).port
    for raw in (
        f"{canary('garbage')}\r\n\r\n".encode(),
        f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n{canary('half')}".encode(),
        f"GET / HTTP/1.1\r\nhost: x\r\n{canary('header')}\r\n\r\n".encode(),
    ):
        with contextlib.closing(socket.create_connection((host, port), timeout=5)) as connection:
            connection.sendall(raw)


def hang_up(customer: Customer) -> None:
    """After the first bytes of a stream."""
    with customer.client.stream("POST", "/v1/chat/completions", json=chat_body(stream=True)) as answer:
        next(answer.iter_raw())


@pytest.mark.parametrize("masked", [False, True], ids=["no-policy", "policy"])
def test_no_text_key_or_token_is_written_anywhere(scripted: ScriptedHouse, *, masked: bool):
    customer = scripted.move_in(f"flooder-{masked}", pii=policy(completions=True) if masked else None)

    errors = flood(scripted, customer)
    raw_garbage(scripted)
    hang_up(customer)
    wait_for(
        lambda: len(scripted.events(customer.tenant.id)) > 50, seconds=SECONDS, what="the events are there"
    )

    written = everything(scripted)
    assert any(name.startswith("redis b'tn:usage:gateway") for name in written)
    assert any(name.endswith("gateway.log") for name in written)
    assert leaks(written, *secrets_of(customer)) == []
    assert leaks({f"{answer.status_code} {n}": error_of(answer) for n, answer in enumerate(errors)}) == []
    for address in ("/metrics", "/healthz", "/readyz"):
        assert leaks({address: customer.client.get(address).content}) == []


def test_a_parameter_of_no_name_that_we_know_is_named_to_its_sender_alone(scripted: ScriptedHouse):
    customer = scripted.move_in("namer")

    answer = customer.client.post(
        "/v1/chat/completions", json=chat_body(**{canary("parameter"): canary("value")})
    )

    assert answer.json()["error"]["param"] == canary("parameter")
    assert canary("value") not in answer.text
    scripted.event(customer)
    assert leaks(everything(scripted)) == []


def test_a_value_that_is_blocked_is_not_quoted(scripted: ScriptedHouse):
    blocking = policy(entities={"EMAIL_ADDRESS": "block"})
    customer = scripted.move_in("blocked", pii=blocking)

    answer = customer.client.post("/v1/chat/completions", json=chat_body())

    assert answer.json()["error"]["code"] == "pii_blocked"
    scripted.event(customer)
    assert leaks({**everything(scripted), "answer": answer.content}) == []


def test_what_is_spooled_on_disk_while_redis_is_away_holds_no_text_either(tmp_path: Path):
    with open_scripted_house(tmp_path) as house:
        customer = house.move_in("spooled")
        house.own.kill()

        answers = [customer.client.post(path, json=body, headers=HEADERS) for path, body in calls()]
        answers += bad_keys(house)
        spool = tmp_path / "gateway" / "spool"
        wait_for(
            lambda: any(path.stat().st_size for path in spool.rglob("*") if path.is_file()),
            seconds=SECONDS,
            what="events are on disk",
        )

        written = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert leaks(written, *secrets_of(customer)) == []
        assert leaks({str(number): answer.content for number, answer in enumerate(answers)}) == []
