"""The locked-down, metered worker as gateways and attackers meet it: real vLLM, real adapters."""

import json
import os
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway_hooks.contract.usage import EngineEvent, WorkerInterval
from inference.demo_model import voices
from inference.door import READ_PATHS, WORK_PATHS
from tests.inference.adapters import changed_adapter, config
from tests.inference.live import CHAT, ROOT, LiveWorker, chat_body, store_adapter
from tests.services import wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

LONG = "Tell me about the weather in a town by the sea. " * 8
ROUTE = re.compile(r"Route: (\S+), Methods: (.+)")


def code_of(response: httpx.Response) -> str:
    return str(response.json()["error"]["code"])


def routes(worker: LiveWorker) -> Iterator[tuple[str, str]]:
    """(method, path) of every route that vLLM itself says it serves."""
    for path, methods in ROUTE.findall(worker.log.read_text()):
        for method in methods.split(", "):
            yield method, re.sub(r"\{[^}]*\}", "x", path)


def streamed_text(response: httpx.Response) -> tuple[str, dict[str, Any]]:
    """(the text, the usage of the last chunk)."""
    text, usage = "", {}
    for line in response.iter_lines():
        if not line.startswith("data: {"):
            continue
        chunk = json.loads(line.removeprefix("data: "))
        usage = chunk.get("usage") or usage
        text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return text, usage


def test_the_base_model_and_each_adapter_answer_in_their_own_voice(
    worker: LiveWorker, adapters: dict[str, str]
) -> None:
    answers = {}
    for name in (None, *adapters):
        response = worker.post(chat_body(), adapter=adapters[name] if name else None)
        assert response.status_code == 200, response.text
        answers[name] = response.json()["choices"][0]["message"]["content"]

    assert answers == {None: voices.BASE_SENTENCE, **voices.ADAPTER_SENTENCES}


def test_every_route_that_vllm_serves_is_closed_without_a_signature(worker: LiveWorker) -> None:
    served = sorted(set(routes(worker)))

    answers = {route: worker.send(*route, body=b"{}") for route in served}

    paths = {path for _, path in served}
    assert {"/invocations", "/tokenize", "/v1/load_lora_adapter", "/metrics", "/health", CHAT} <= paths
    assert len(served) >= 30
    for (method, path), response in answers.items():
        assert response.status_code == 401, f"{method} {path}"
        # A HEAD has no body to look into.
        assert method == "HEAD" or code_of(response) == "identity_missing", f"{method} {path}"


def test_with_a_valid_signature_only_the_allow_list_exists(worker: LiveWorker) -> None:
    allowed = {("POST", path) for path in WORK_PATHS} | {("GET", path) for path in READ_PATHS}
    closed = sorted(set(routes(worker)) - allowed)

    for method, path in closed:
        token = worker.signer.token(method, path, b"{}")
        response = worker.send(method, path, b"{}", token)

        assert response.status_code == 403, f"{method} {path}"
        assert method == "HEAD" or code_of(response) == "path_not_allowed", f"{method} {path}"


@pytest.mark.parametrize("path", sorted(WORK_PATHS | READ_PATHS))
def test_an_allowed_path_refuses_whatever_was_not_signed_for_it(worker: LiveWorker, path: str) -> None:
    method = "POST" if path in WORK_PATHS else "GET"
    body = worker.signer.body(chat_body(), adapter=None, tenant="tenant-a") if method == "POST" else b""

    def ask(content: bytes = body, **claims: Any) -> tuple[int, str]:
        response = worker.send(method, path, content, worker.signer.token(method, path, body, **claims))
        return response.status_code, code_of(response)

    assert ask(worker_id="another") == (401, "identity_wrong_target")
    assert ask(path="/v1/elsewhere") == (401, "identity_wrong_target")
    assert ask(body + b" ") == (401, "identity_wrong_body")
    assert ask(issued_at=1.0) == (401, "identity_expired")
    forged = worker.send(method, path, body, "a.b.c")
    assert (forged.status_code, code_of(forged)) == (401, "identity_invalid")


def test_a_request_is_served_once_and_its_replay_refused(worker: LiveWorker) -> None:
    body = worker.signer.body(chat_body(), adapter=None, tenant="tenant-a")
    token = worker.signer.token("POST", CHAT, body)

    first = worker.send("POST", CHAT, body, token)
    again = worker.send("POST", CHAT, body, token)

    assert first.status_code == 200
    assert (again.status_code, code_of(again)) == (403, "identity_replayed")


def test_another_tenants_adapter_needs_a_signature_that_names_it(
    worker: LiveWorker, adapters: dict[str, str]
) -> None:
    model = f"adapter-{adapters['globex-shop']}"

    response = worker.post(chat_body(model=model), adapter=adapters["acme-health"])

    assert (response.status_code, code_of(response)) == (403, "model_not_signed")


def test_a_websocket_is_refused_before_it_opens(worker: LiveWorker) -> None:
    handshake = (
        "GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as connection:
        connection.sendall(handshake.encode())

        answer = connection.recv(100)

    assert answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 401"))


def test_a_body_of_fifty_megabytes_is_refused(worker: LiveWorker) -> None:
    body = b"x" * (50 << 20)

    response = worker.send("POST", CHAT, body, worker.signer.token("POST", CHAT, body))

    assert (response.status_code, code_of(response)) == (413, "body_too_large")


def test_an_adapter_that_cannot_be_loaded_is_refused_and_the_engine_lives(
    worker: LiveWorker, tmp_path: Any
) -> None:
    tampered = store_adapter(changed_adapter(tmp_path / "a", config(lora_dropout=0.99)), worker.store)
    weights = worker.store / tampered / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    big = store_adapter(changed_adapter(tmp_path / "b", config(r=64)), worker.store)
    foreign = store_adapter(
        changed_adapter(tmp_path / "c", config(base_model_name_or_path="other")), worker.store
    )

    refusals = {
        digest: worker.post(chat_body(), adapter=digest) for digest in ("ab" * 32, tampered, big, foreign)
    }

    assert [(refused.status_code, code_of(refused)) for refused in refusals.values()] == [
        (404, "adapter_not_found"),
        (422, "adapter_digest_mismatch"),
        (422, "adapter_rank_too_high"),
        (422, "adapter_wrong_base"),
    ]
    assert worker.post(chat_body()).json()["choices"][0]["message"]["content"] == voices.BASE_SENTENCE


def test_an_adapter_that_only_the_engine_can_refuse_is_a_client_error(
    worker: LiveWorker, tmp_path: Any
) -> None:
    # Well-formed in every way we check, but its weights belong to modules that the model does not have.
    def other_modules(folder: Any) -> None:
        path = folder / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes().replace(b"q_proj.lora", b"qq_roj.lora"))

    digest = store_adapter(changed_adapter(tmp_path / "d", other_modules), worker.store)

    response = worker.post(chat_body(), adapter=digest)

    assert 400 <= response.status_code < 500
    assert worker.post(chat_body()).status_code == 200


def test_more_adapters_than_slots_take_turns(worker: LiveWorker, tmp_path: Any) -> None:
    digests = [
        store_adapter(changed_adapter(tmp_path / str(number), config(lora_dropout=number / 10)), worker.store)
        for number in range(1, 7)
    ]

    with ThreadPoolExecutor(len(digests)) as pool:
        answers = list(pool.map(lambda digest: worker.post(chat_body(), adapter=digest), digests))

    contents = {answer.json()["choices"][0]["message"]["content"] for answer in answers}
    assert contents == {voices.ADAPTER_SENTENCES["acme-health"]}


def test_the_engine_counts_what_the_response_says(worker: LiveWorker, adapters: dict[str, str]) -> None:
    asked: dict[str, dict[str, Any]] = {}
    for name, changes in (("long", {}), ("again", {}), ("cut", {"max_tokens": 5}), ("other", {})):
        request_id = f"usage-{name}-{uuid.uuid4().hex}"
        adapter = adapters["acme-health"] if name == "other" else None
        response = worker.post(chat_body(LONG, **changes), adapter=adapter, request_id=request_id)
        asked[request_id] = response.json()["usage"]

    for request_id, usage in asked.items():
        event = worker.event(request_id)

        assert event.prompt_tokens == usage["prompt_tokens"]
        assert event.completion_tokens == usage["completion_tokens"]
        assert event.cached_tokens == usage["prompt_tokens_details"]["cached_tokens"]
        assert event.finish_reason == ("length" if "-cut-" in request_id else "stop")
        assert event.prefill_ns > 0
        assert event.decode_ns > 0
        assert event.peak_kv_blocks > 0
    again = next(event for event in worker.engine_events() if event.request_id.startswith("usage-again-"))
    assert again.cached_tokens > 0, "the second long prompt must hit the cache"


def test_a_stream_is_counted_like_a_whole_answer(worker: LiveWorker, adapters: dict[str, str]) -> None:
    request_id = uuid.uuid4().hex
    body = chat_body(stream=True, stream_options={"include_usage": True})

    with worker.stream(body, adapter=adapters["globex-shop"], request_id=request_id) as response:
        text, usage = streamed_text(response)
    event = worker.event(request_id)

    assert text == voices.ADAPTER_SENTENCES["globex-shop"]
    assert (event.prompt_tokens, event.completion_tokens) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )


@pytest.mark.parametrize("stop", ["shared", "base model. I", "I"])
def test_an_answer_ended_by_a_stop_string_is_counted_as_reported(worker: LiveWorker, stop: str) -> None:
    request_id = uuid.uuid4().hex

    response = worker.post(chat_body(stop=[stop]), request_id=request_id).json()
    event = worker.event(request_id)

    assert stop not in response["choices"][0]["message"]["content"]
    assert event.completion_tokens == response["usage"]["completion_tokens"]
    assert event.finish_reason == response["choices"][0]["finish_reason"] == "stop"


def test_a_client_that_hangs_up_is_metered_as_an_abort(worker: LiveWorker) -> None:
    request_id = uuid.uuid4().hex
    body = chat_body(stream=True, max_tokens=900, min_tokens=900, ignore_eos=True)

    with worker.stream(body, request_id=request_id) as response:
        lines = response.iter_lines()
        received = [next(lines) for _ in range(20)]
    event = worker.event(request_id)

    assert received
    assert event.finish_reason == "abort"
    assert 5 <= event.completion_tokens < 900
    assert event.decode_ns > 0


def test_the_event_repeats_the_signature_and_not_what_the_body_claims(
    worker: LiveWorker, adapters: dict[str, str]
) -> None:
    request_id, digest = uuid.uuid4().hex, adapters["acme-health"]
    lie = {"vllm_xargs": {"tenantry": json.dumps({"tenant_id": "victim"})}, "request_id": "mine", "user": "u"}

    response = worker.post(
        chat_body(**lie), adapter=digest, request_id=request_id, tenant_id="tenant-b", alias="helper"
    )
    event = worker.event(request_id)

    assert response.status_code == 200
    assert (event.tenant_id, event.app_id, event.key_id, event.alias) == (
        "tenant-b",
        "app-a",
        "key-a",
        "helper",
    )
    assert (event.adapter_digest, event.adapter_version_id) == (digest, f"version-{digest[:8]}")
    assert (event.worker_id, event.pool_id, event.base_model) == ("live-1", "pool-demo", "tenantry-demo")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "Who are you?", "max_tokens": 8}),
        ("/v1/responses", {"input": "Who are you?", "max_output_tokens": 8}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 8}),
    ],
)
def test_the_other_ways_to_generate_are_metered_too(
    worker: LiveWorker, path: str, body: dict[str, Any]
) -> None:
    request_id = uuid.uuid4().hex

    response = worker.post(body, path=path, request_id=request_id)
    event = worker.event(request_id)

    assert response.status_code == 200, response.text
    assert (event.tenant_id, event.completion_tokens) == ("tenant-a", 8)


def test_a_burst_is_charged_to_the_nanosecond(worker: LiveWorker, adapters: dict[str, str]) -> None:
    digests = [None, *adapters.values()] * 8
    with ThreadPoolExecutor(len(digests)) as pool:
        answers = list(pool.map(lambda digest: worker.post(chat_body(), adapter=digest), digests))
    assert {answer.status_code for answer in answers} == {200}

    def sums() -> tuple[int, int]:
        """(what requests are charged, what the worker was busy), over the whole boot."""
        events = worker.events()
        charged = sum(e.prefill_ns + e.decode_ns for e in events if isinstance(e, EngineEvent))
        return charged, sum(e.busy_ns for e in events if isinstance(e, WorkerInterval))

    def agree() -> bool:
        charged, busy = sums()
        return charged == busy > 0

    wait_until(agree, seconds=20, what=f"equal sums (charged, busy) = {sums()}")
    intervals = [event for event in worker.events() if isinstance(event, WorkerInterval)]
    assert len({event.event_id for event in worker.events()}) == len(worker.events())
    assert [i.start for i in intervals[1:]] == [i.end for i in intervals[:-1]]
    starting = [interval.startup_ns > 0 for interval in intervals]
    assert starting[0]
    assert starting == sorted(starting, reverse=True), "start-up comes first and once"
    for interval in intervals:
        length_us = (interval.end - interval.start).total_seconds() * 1e6
        assert interval.startup_ns + interval.busy_ns <= (length_us + 2) * 1e3


def test_an_operator_can_ask_for_health_on_the_command_line(worker: LiveWorker, keyring_text: str) -> None:
    def ask(worker_id: str) -> int:
        command = [sys.executable, "-m", "inference", "health", "--worker-id", worker_id]
        command += ["--url", f"http://127.0.0.1:{worker.port}"]
        environment = {**os.environ, "TENANTRY_IDENTITY_KEYS": keyring_text}
        return subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=30).returncode

    assert ask(worker.worker_id) == 0
    assert ask("another") == 1


def test_the_record_says_what_the_worker_is(worker: LiveWorker, adapters: dict[str, str]) -> None:
    worker.post(chat_body(), adapter=adapters["acme-health"])

    def resident() -> bool:
        record = worker.record()
        return record is not None and adapters["acme-health"] in record.adapters

    wait_until(resident, seconds=10, what="the loaded adapter in the record")
    record = worker.record()
    assert record is not None
    assert (record.state, record.pool_id, record.base_model) == ("ready", "pool-demo", "tenantry-demo")
    assert (record.device, record.max_num_seqs) == ("cpu", 8)
    assert record.kv_cache_tokens is not None
    assert record.kv_cache_tokens > 1024
    assert record.vllm_version.startswith("0.32.0")


def test_nothing_that_a_tenant_wrote_is_in_the_log(worker: LiveWorker) -> None:
    secret = f"patient-{uuid.uuid4().hex}"

    worker.post(chat_body(secret))
    worker.post(chat_body(secret, temperature=-5))
    worker.post({"messages": [{"role": secret, "content": secret}], "max_tokens": 5})
    worker.post({"messages": secret})
    worker.post(chat_body(secret * 200))
    worker.post(chat_body(secret, model=secret))
    worker.send("POST", f"/{secret}", secret.encode())

    log = worker.log.read_text()
    assert "is ready at" in log
    assert "refused /v1/chat/completions: model_not_signed" in log
    assert log.count(secret) == 0
