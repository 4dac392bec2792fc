"""The gateway as a client sees it, on every endpoint, and as the worker sees it."""

import json

import pytest

from gateway_hooks.contract.identity import adapter_model_name
from tests.gateway_hooks.house import ADAPTER, House
from tests.gateway_hooks.standin_worker import CACHED_TOKENS, PROMPT_TOKENS
from tests.gateway_hooks.world import BASE_MODEL, route

pytestmark = pytest.mark.live

COMPLETION_TOKENS = 6
CALLS = {
    "chat.completions": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
    "completions": ("/v1/completions", {"prompt": "hello"}),
    "responses": ("/v1/responses", {"input": "hello"}),
    "messages": ("/v1/messages", {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endpoint", CALLS)
def test_every_endpoint_answers_as_the_tenants_adapter_and_is_metered(
    house: House, *, endpoint: str, stream: bool
):
    customer = house.move_in(f"metered-{endpoint}-{stream}")
    path, body = CALLS[endpoint]

    answer = customer.client.post(path, json={"model": "support", **body, "stream": stream})

    assert answer.status_code == 200
    assert adapter_model_name(ADAPTER) in answer.text.replace(" ", "")
    event = house.event(customer)
    assert (event.endpoint, event.stream, event.outcome) == (endpoint, stream, "completed")
    assert (event.prompt_tokens, event.cached_tokens, event.completion_tokens) == (
        PROMPT_TOKENS,
        CACHED_TOKENS,
        COMPLETION_TOKENS,
    )
    assert event.request_id == answer.headers["x-request-id"]
    assert house.slots(customer) == house.holds(customer) == 0
    # (11 - 4) * 1 + 4 * 0.25 + 6 * 4 micro
    assert house.spend(customer) == 32


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endpoint", CALLS)
def test_the_answer_names_the_alias_and_never_the_workers_model(house: House, *, endpoint: str, stream: bool):
    customer = house.move_in(f"named-{endpoint}-{stream}")
    path, body = CALLS[endpoint]

    answer = customer.client.post(path, json={"model": "support", **body, "stream": stream})

    assert '"model":"support"' in answer.text
    assert f'"model":"{adapter_model_name(ADAPTER)}"' not in answer.text


def test_embeddings_answer_and_are_metered(house: House):
    customer = house.move_in("embeddings")

    answer = customer.client.post("/v1/embeddings", json={"model": "support", "input": ["a"]})

    assert answer.status_code == 200
    assert [entry["embedding"] for entry in answer.json()["data"]] == [[0.5, 0.25]]
    event = house.event(customer)
    assert (event.prompt_tokens, event.completion_tokens) == (PROMPT_TOKENS, 0)


def test_several_inputs_at_once_are_refused_since_one_engine_event_pays_for_one(house: House):
    customer = house.move_in("many-embeddings")

    answer = customer.client.post("/v1/embeddings", json={"model": "support", "input": ["a", "b"]})

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_parameter"


@pytest.mark.parametrize("endpoint", ["chat.completions", "completions"])
def test_a_stream_carries_usage_only_if_the_client_asked_for_it(house: House, endpoint: str):
    customer = house.move_in(f"usage-{endpoint}")
    path, body = CALLS[endpoint]
    asked = {"stream_options": {"include_usage": True}}

    without = customer.client.post(path, json={"model": "support", **body, "stream": True})
    with_usage = customer.client.post(path, json={"model": "support", **body, "stream": True, **asked})

    assert "usage" not in without.text
    chunks = [json.loads(line[6:]) for line in with_usage.text.split("\n") if line.startswith("data: {")]
    counted = [chunk for chunk in chunks if chunk.get("usage")]
    assert [chunk["choices"] for chunk in counted] == [[]]
    assert counted[0]["usage"]["prompt_tokens"] == PROMPT_TOKENS
    assert counted[0]["usage"]["completion_tokens"] == COMPLETION_TOKENS


def test_the_worker_sees_a_signed_request_with_salt_model_and_output_cap(house: House):
    customer = house.move_in("signed")

    answer = customer.chat(max_tokens=10_000)

    (seen,) = house.seen(customer)
    identity = seen["identity"]
    assert identity["request_id"] == answer.headers["x-request-id"]
    assert identity["key_id"] == customer.key.id
    assert identity["adapter_digest"] == ADAPTER
    assert identity["alias"] == "support"
    assert seen["body"]["model"] == identity["model"] == adapter_model_name(ADAPTER)
    assert seen["body"]["max_tokens"] == customer.tenant.max_output_tokens
    assert len(seen["body"]["cache_salt"]) == 64
    assert "authorization" not in seen["headers"]


def test_the_cache_salt_differs_by_tenant_and_by_adapter(house: House):
    first = house.move_in("salt-1")
    second = house.move_in("salt-2")

    first.chat()
    first.chat(model="base")
    second.chat()

    salts = [seen["body"]["cache_salt"] for seen in house.seen(first) + house.seen(second)]
    assert len(set(salts)) == 3


def test_an_alias_without_adapter_leads_to_the_base_model(house: House):
    customer = house.move_in("base-model")

    answer = customer.chat(model="base")

    assert answer.json()["model"] == "base"
    assert house.seen(customer)[0]["body"]["model"] == BASE_MODEL


def test_a_tenant_lists_exactly_its_own_aliases(house: House):
    customer = house.move_in("lister", aliases={"one": route(), "two": route("b" * 64)})
    house.move_in("other-lister", aliases={"secret-alias": route()})

    listed = customer.client.get("/v1/models").json()
    found = customer.client.get("/v1/models/one").json()
    missing = customer.client.get("/v1/models/secret-alias")

    assert [entry["id"] for entry in listed["data"]] == ["one", "two"]
    assert found["id"] == "one"
    assert missing.status_code == 404


def test_another_tenants_alias_is_the_same_404_as_a_name_that_does_not_exist(house: House):
    customer = house.move_in("asker")
    house.move_in("owner", aliases={"private-voice": route("c" * 64)})

    names = [
        "private-voice",
        "no-such-name",
        adapter_model_name("c" * 64),
        adapter_model_name(ADAPTER),
        BASE_MODEL,
    ]
    answers = [customer.chat(model=name) for name in names]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["error"]["code"] == "model_not_found"
    assert house.seen(customer) == []


def test_the_anthropic_key_header_works_on_messages_alone(house: House):
    customer = house.move_in("anthropic")
    path, body = CALLS["messages"]
    headers = {"x-api-key": customer.secret, "anthropic-version": "2023-06-01"}
    client = house.client("")
    del client.headers["authorization"]

    answered = client.post(path, json={"model": "support", **body}, headers=headers)
    refused = client.post("/v1/chat/completions", json={}, headers=headers)

    assert answered.json()["type"] == "message"
    assert refused.json()["error"]["code"] == "missing_api_key"


def test_a_body_arrives_as_it_was_sent_whatever_litellm_would_make_of_it(house: House):
    customer = house.move_in("unharmed")
    parameters = {"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": False}
    tool = {"type": "function", "function": {"name": "f", "strict": True, "parameters": parameters}}

    chat = customer.chat(tools=[tool], logit_bias={"5": 1.5})
    ids = customer.client.post("/v1/completions", json={"model": "support", "prompt": [1, 2, 3]})

    assert (chat.status_code, ids.status_code) == (200, 200)
    first, second = (entry["body"] for entry in house.seen(customer))
    assert (first["tools"], first["logit_bias"]) == ([tool], {"5": 1.5})
    assert second["prompt"] == [1, 2, 3]
