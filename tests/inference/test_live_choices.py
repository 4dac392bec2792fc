"""Several answers to one request, by the real engine: one event, which says what ``usage`` says."""

import json
import uuid
from typing import Any

import pytest

from gateway_hooks.contract.usage import EngineEvent
from tests.inference.live import CHAT, LiveWorker, chat_body

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

LONG = "Tell me about the weather in a town by the sea. " * 8
ASK: dict[str, Any] = {"n": 3, "temperature": 1.0, "seed": 7, "max_tokens": 20}


def events_of(worker: LiveWorker, request_id: str) -> list[EngineEvent]:
    """All there are once a later request's event has come."""
    later = uuid.uuid4().hex
    worker.event(request_id)
    worker.post(chat_body(max_tokens=1), request_id=later)
    worker.event(later)
    return [event for event in worker.engine_events() if event.request_id == request_id]


def counts(event: EngineEvent) -> tuple[int, int, int]:
    return event.prompt_tokens, event.cached_tokens, event.completion_tokens


def reported(usage: dict[str, Any]) -> tuple[int, int, int]:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return usage["prompt_tokens"], cached, usage["completion_tokens"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat_body(**ASK)),
        (CHAT, chat_body(LONG, **ASK)),
        (CHAT, chat_body(**{**ASK, "ignore_eos": True})),
        ("/v1/completions", {"prompt": "Once upon a time", **ASK}),
    ],
    ids=["chat", "long", "length", "completions"],
)
def test_the_event_of_three_answers_is_their_usage(
    worker: LiveWorker, path: str, body: dict[str, Any]
) -> None:
    request_id = uuid.uuid4().hex

    answer = worker.post(body, path=path, request_id=request_id).json()
    (event,) = events_of(worker, request_id)

    assert len(answer["choices"]) == 3
    assert counts(event) == reported(answer["usage"])
    reasons = {choice["finish_reason"] for choice in answer["choices"]}
    assert event.finish_reason == ("length" if "length" in reasons else "stop")
    assert event.prefill_ns > 0
    assert event.decode_ns > 0
    assert event.peak_kv_blocks >= 3


def test_three_streamed_answers_are_one_event_too(worker: LiveWorker) -> None:
    request_id = uuid.uuid4().hex
    body = chat_body(LONG, **ASK, stream=True, stream_options={"include_usage": True})

    with worker.stream(body, request_id=request_id) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {")]
    chunks = [json.loads(line) for line in lines]
    (event,) = events_of(worker, request_id)

    assert {choice["index"] for chunk in chunks for choice in chunk["choices"]} == {0, 1, 2}
    assert counts(event) == reported(chunks[-1]["usage"])


def test_a_client_that_hangs_up_on_three_answers_is_one_abort(worker: LiveWorker) -> None:
    request_id = uuid.uuid4().hex
    body = chat_body(**{**ASK, "max_tokens": 900}, min_tokens=900, ignore_eos=True, stream=True)

    with worker.stream(body, request_id=request_id) as response:
        lines = response.iter_lines()
        received = [next(lines) for _ in range(20)]
    (event,) = events_of(worker, request_id)

    assert received
    assert event.finish_reason == "abort"
    assert 5 <= event.completion_tokens < 3 * 900
