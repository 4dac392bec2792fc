"""Bodies as clients may send them, for every endpoint: what ``parse`` accepts."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from gateway_hooks.gateway.body.endpoints import BY_PATH, Endpoint
from gateway_hooks.gateway.body.parse import Body, parse

ENDPOINTS = {endpoint.name: endpoint for endpoint in BY_PATH.values()}
TEXT = st.text(max_size=20)
NAMES = st.sampled_from(["look_up", "buy", "sell"])
STOPS = st.lists(st.text(min_size=1, max_size=3), max_size=16)
SAMPLING = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "stream": st.booleans(),
}
PENALTIES = {
    "top_k": st.integers(-1, 200),
    "min_p": st.floats(0, 1),
    "frequency_penalty": st.floats(-2, 2),
    "presence_penalty": st.floats(-2, 2),
    "repetition_penalty": st.floats(0.1, 2),
    "stop": STOPS | st.text(min_size=1, max_size=3),
    "n": st.integers(1, 8),
    "seed": st.integers(0, 9),
}


def parts(kind: str) -> st.SearchStrategy[Any]:
    return TEXT | st.lists(st.fixed_dictionaries({"type": st.just(kind), "text": TEXT}), max_size=3)


def messages(*roles: str, kind: str = "text") -> st.SearchStrategy[Any]:
    message = st.fixed_dictionaries({"role": st.sampled_from(roles), "content": parts(kind)})
    return st.lists(message, min_size=1, max_size=4)


def _function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


BODIES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "chat.completions": st.fixed_dictionaries(
        {"model": st.just("m"), "messages": messages("system", "developer", "user", "assistant")},
        optional={
            **SAMPLING,
            **PENALTIES,
            "max_tokens": st.integers(1, 500),
            "max_completion_tokens": st.integers(1, 500),
            "tools": st.lists(NAMES.map(_function), max_size=3),
            "tool_choice": st.sampled_from(["auto", "none"]) | NAMES.map(_function),
        },
    ),
    "completions": st.fixed_dictionaries(
        {"model": st.just("m"), "prompt": TEXT},
        optional={**SAMPLING, **PENALTIES, "max_tokens": st.integers(1, 500), "echo": st.just(False)},
    ),
    "responses": st.fixed_dictionaries(
        {
            "model": st.just("m"),
            "input": TEXT | messages("system", "developer", "user", "assistant", kind="input_text"),
        },
        optional={
            **SAMPLING,
            "instructions": TEXT,
            "max_output_tokens": st.integers(1, 500),
            "tools": st.lists(NAMES.map(lambda name: {"type": "function", "name": name}), max_size=3),
            "tool_choice": NAMES.map(lambda name: {"type": "function", "name": name}),
        },
    ),
    "messages": st.fixed_dictionaries(
        {
            "model": st.just("m"),
            "messages": messages("user", "assistant"),
            "max_tokens": st.integers(1, 500),
        },
        optional={
            **SAMPLING,
            "system": parts("text"),
            "top_k": st.integers(-1, 200),
            "stop_sequences": STOPS,
            "tools": st.lists(NAMES.map(lambda name: {"name": name, "input_schema": {}}), max_size=3),
            "tool_choice": NAMES.map(lambda name: {"type": "tool", "name": name}),
        },
    ),
    "embeddings": st.fixed_dictionaries({"model": st.just("m"), "input": TEXT}),
}
GENERATING = sorted(BODIES.keys() - {"embeddings"})


def parsed(endpoint: Endpoint, document: dict[str, Any]) -> Body:
    return parse(msgspec.json.encode(document), endpoint)


@st.composite
def asked(draw: st.DrawFn, names: list[str] = GENERATING) -> tuple[Endpoint, Body]:
    endpoint = ENDPOINTS[draw(st.sampled_from(names))]
    return endpoint, parsed(endpoint, draw(BODIES[endpoint.name]))
