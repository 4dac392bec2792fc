"""What LiteLLM gets to see: no text that it has no use for."""

import json

import pytest

from gateway_hooks.gateway.body.endpoints import ENDPOINTS, Endpoint
from gateway_hooks.gateway.inner import for_litellm

SECRET = "canary-7d1f"
BODIES = {
    "chat.completions": {
        "messages": [{"role": "user", "content": SECRET}],
        "tools": [{"type": "function", "function": {"name": SECRET}}],
        "stop": [SECRET],
    },
    "completions": {"prompt": SECRET, "stop": [SECRET]},
    "embeddings": {"input": SECRET, "encoding_format": "base64"},
    "responses": {"input": [{"role": "user", "content": SECRET}], "instructions": SECRET},
    "messages": {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 5},
}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_litellm_sees_texts_only_where_it_translates_them(endpoint: Endpoint):
    given = for_litellm(endpoint, {"model": "m", "stream": True, **BODIES[endpoint.name]})

    assert (SECRET in given.decode()) is endpoint.translated
    document = json.loads(given)
    assert (document["model"], document["stream"]) == ("m", True)
    assert set(endpoint.required) <= set(document)


def test_what_shapes_the_answer_is_kept():
    endpoint = next(one for one in ENDPOINTS if one.name == "embeddings")

    assert json.loads(for_litellm(endpoint, BODIES["embeddings"])) == {
        "input": ".",
        "encoding_format": "base64",
    }
