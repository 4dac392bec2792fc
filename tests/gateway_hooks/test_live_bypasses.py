"""Everything by which a client got around LiteLLM's own rules in a trial is closed here."""

import pytest

from gateway_hooks.contract.identity import HEADER
from tests.gateway_hooks.house import House

pytestmark = pytest.mark.live

SMUGGLED = {
    "no-log": True,
    "fallbacks": [{"model": "base"}],
    "context_window_fallbacks": ["base"],
    "extra_headers": {"authorization": "Bearer x"},
    "extra_body": {"priority": -1},
    "extra_query": {"a": "b"},
    "custom_llm_provider": "openai",
    "api_base": "http://127.0.0.1:1",
    "api_key": "sk-x",
    "base_url": "http://127.0.0.1:1",
    "timeout": 1,
    "num_retries": 5,
    "specific_deployment": True,
    "mock_response": "free answer",
    "mock_testing_fallbacks": True,
    "vllm_xargs": {"a": 1},
    "kv_transfer_params": {"do_remote_decode": True},
    "chat_template": "{{ evil }}",
    "chat_template_kwargs": {"enable_thinking": True},
    "cache_salt": "chosen",
    "priority": -100,
    "request_id": "chosen",
    "lora_request": {"lora_name": "x", "lora_path": "/etc"},
    "add_special_tokens": True,
    "prompt_logprobs": 1,
    "best_of": 4,
    "use_beam_search": True,
    "ignore_eos": True,
    "min_tokens": 100,
    "guided_json": {},
    "structured_outputs": {},
    "functions": [],
    "guardrails": ["x"],
    "tags": ["x"],
    "caching": True,
    "litellm_metadata": {"a": 1},
    "proxy_server_request": {},
    "prompt_id": "x",
    "stream_timeout": 1,
    "model_info": {},
    "input_cost_per_token": 0,
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_an_unknown_parameter_is_refused_by_name(house: House, name: str):
    customer = house.move_in(f"smuggler-{name}")

    answer = customer.chat(**{name: SMUGGLED[name]})

    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": f"`{name}` is not supported.",
        "type": "invalid_request_error",
        "param": name,
        "code": "unsupported_parameter",
    }
    assert house.seen(customer) == []
    event = house.event(customer)
    assert (event.outcome, event.reason) == ("rejected", "unsupported_parameter")


def test_benign_parameters_that_name_somebody_are_dropped(house: House):
    customer = house.move_in("dropper")
    forgotten = {"user": "somebody", "metadata": {"tags": ["x"]}, "store": True, "service_tier": "auto"}

    answer = customer.chat(**forgotten)

    assert answer.status_code == 200
    assert set(house.seen(customer)[0]["body"]) == {
        "messages",
        "stream",
        "max_tokens",
        "model",
        "cache_salt",
    } - (set() if "stream" in house.seen(customer)[0]["body"] else {"stream"})


@pytest.mark.parametrize(
    "model", ["support,base", "support,support", "*", "hosted_vllm/support", "tenantry", ""]
)
def test_a_model_is_one_alias_and_nothing_else(house: House, model: str):
    customer = house.move_in(f"tricks-{model}")

    answer = customer.chat(model=model)

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert house.seen(customer) == []


PATHS = [
    "/",
    "/docs",
    "/openapi.json",
    "/ui/",
    "/sso/key/generate",
    "/fallback/login",
    "/public/model_hub",
    "/health",
    "/health/readiness",
    "/metrics",
    "/key/generate",
    "/model/info",
    "/v1/model/info",
    "/config/yaml",
    "/chat/completions",
    "/v1/chat/completions/",
    "/v1//chat/completions",
    "/V1/chat/completions",
    "/openai/deployments/support/chat/completions",
    "/engines/support/chat/completions",
    "/cursor/chat/completions",
    "/v1beta/models/support:generateContent",
    "/utils/token_counter",
    "/vllm/v1/chat/completions",
    "/v1/moderations",
    "/v1/responses/resp_1",
    "/v1/messages/count_tokens",
    "/v1/files",
    "/v1/batches",
    "/v1/audio/transcriptions",
    "/v1/images/generations",
    "/v1/realtime",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_other_path_exists_for_anybody(house: House, path: str):
    client = house.clients[0] if house.clients else house.move_in("walker").client

    answers = [client.get(path), client.post(path, json={"model": "support", "input": "x"})]

    assert {answer.status_code for answer in answers} <= {404, 405}
    assert all("litellm" not in answer.text.lower() for answer in answers)
    assert all(answer.json()["error"]["code"] in {"not_found", "method_not_allowed"} for answer in answers)


def test_headers_of_a_client_reach_neither_litellm_nor_the_worker(house: House):
    customer = house.move_in("header-sender")
    sent = {
        "x-request-id": "chosen",
        "x-litellm-call-id": "chosen",
        "x-litellm-timeout": "0.001",
        "x-litellm-num-retries": "9",
        "x-litellm-tags": "a",
        "x-litellm-stream-timeout": "0.001",
        "x-vllm-anything": "1",
        HEADER: "forged",
        "cookie": "a=b",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }

    body = {"model": "support", "messages": [{"role": "user", "content": "hello"}]}
    answer = customer.client.post("/v1/chat/completions?timeout=0.001", json=body, headers=sent)

    assert answer.status_code == 200
    (seen,) = house.seen(customer)
    assert seen["identity"]["request_id"] == answer.headers["x-request-id"] != "chosen"
    assert set(seen["headers"]) == {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-request-id",
        HEADER,
    }


def test_an_answer_carries_none_of_litellms_headers(house: House):
    customer = house.move_in("header-reader")

    answer = customer.chat()

    assert set(answer.headers) == {"date", "content-type", "content-length", "x-request-id"}


CONTENT = [
    {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}},
    {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
    {"type": "file", "file": {"file_id": "x"}},
    {"type": "text", "text": "hello", "extra": 1},
]


@pytest.mark.parametrize("part", CONTENT, ids=lambda part: part["type"])
def test_only_text_parts_are_taken(house: House, part: dict[str, object]):
    customer = house.move_in(f"parts-{part['type']}")
    messages = [{"role": "user", "content": [part]}]

    answer = customer.client.post("/v1/chat/completions", json={"model": "support", "messages": messages})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("messages.0.content.0.")
    assert house.seen(customer) == []


def test_a_previous_response_cannot_be_fetched_by_its_id(house: House):
    customer = house.move_in("continuer")

    body = {"model": "support", "input": "hello", "previous_response_id": "resp_1"}
    answer = customer.client.post("/v1/responses", json=body)

    assert answer.json()["error"]["param"] == "previous_response_id"
