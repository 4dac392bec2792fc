"""The endpoints that exist, and for each the parameters that a client may send."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from gateway_hooks.gateway.body import conversation, prompts, tools
from gateway_hooks.gateway.body.checks import (
    MAX_TOKENS,
    Check,
    boolean,
    choices,
    integer,
    logit_bias,
    members,
    number,
    one_of,
    stop,
    stream_options,
    text,
)

EndpointName = Literal["chat.completions", "completions", "embeddings", "responses", "messages"]


class Endpoint(NamedTuple):
    """``upstream`` is the path at the worker. ``outputs`` are the names of the output cap, best first.

    ``drops`` are benign parameters whose only effect would be on who a request seems to come from, or
    on what is stored; they are accepted and forgotten. ``translated``: the worker speaks another dialect, so
    LiteLLM must see the texts.
    """

    name: EndpointName
    path: str
    upstream: str
    allowed: Mapping[str, Check]
    required: tuple[str, ...]
    outputs: tuple[str, ...]
    drops: frozenset[str]
    generates: bool = True
    translated: bool = False


_MODEL = text(256)
_OUTPUT = integer(1, MAX_TOKENS)
_SEED = integer(-(1 << 63), (1 << 63) - 1)
_EFFORT = one_of("none", "minimal", "low", "medium", "high")
_SAMPLING: dict[str, Check] = {
    "model": _MODEL,
    "stream": boolean,
    "temperature": number(0, 2),
    "top_p": number(0, 1),
}
_PENALTIES: dict[str, Check] = {
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "repetition_penalty": number(0.01, 10),
    "top_k": integer(-1, 1 << 20),
    "min_p": number(0, 1),
    "seed": _SEED,
    "stop": stop,
    "n": choices,
    "stream_options": stream_options,
    "logit_bias": logit_bias,
}
_FORGOTTEN = frozenset({"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier"})


def _reasoning(value: Any, name: str) -> Any:
    return members(value, name, {"effort": _EFFORT, "summary": text(32)})


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        name="chat.completions",
        path="/v1/chat/completions",
        upstream="/v1/chat/completions",
        allowed={
            **_SAMPLING,
            **_PENALTIES,
            "messages": conversation.chat_messages,
            "max_tokens": _OUTPUT,
            "max_completion_tokens": _OUTPUT,
            "logprobs": boolean,
            "top_logprobs": integer(0, 20),
            "tools": tools.chat_tools,
            "tool_choice": tools.chat_tool_choice,
            "parallel_tool_calls": boolean,
            "response_format": tools.response_format,
            "reasoning_effort": _EFFORT,
        },
        required=("model", "messages"),
        outputs=("max_completion_tokens", "max_tokens"),
        drops=_FORGOTTEN,
    ),
    Endpoint(
        name="completions",
        path="/v1/completions",
        upstream="/v1/completions",
        allowed={
            **_SAMPLING,
            **_PENALTIES,
            "prompt": prompts.one_prompt,
            "max_tokens": _OUTPUT,
            "logprobs": integer(0, 20),
            "echo": boolean,
        },
        required=("model", "prompt"),
        outputs=("max_tokens",),
        drops=_FORGOTTEN,
    ),
    Endpoint(
        name="embeddings",
        path="/v1/embeddings",
        upstream="/v1/embeddings",
        allowed={
            "model": _MODEL,
            "input": prompts.embedding_input,
            "encoding_format": one_of("float", "base64"),
            "dimensions": integer(1, 1 << 16),
        },
        required=("model", "input"),
        outputs=(),
        drops=_FORGOTTEN,
        generates=False,
    ),
    Endpoint(
        name="responses",
        path="/v1/responses",
        upstream="/v1/responses",
        allowed={
            **_SAMPLING,
            "input": conversation.responses_input,
            "instructions": text(conversation.MAX_TEXT),
            "max_output_tokens": _OUTPUT,
            "tools": tools.responses_tools,
            "tool_choice": tools.responses_tool_choice,
            "parallel_tool_calls": boolean,
            "text": tools.responses_text,
            "reasoning": _reasoning,
        },
        required=("model", "input"),
        outputs=("max_output_tokens",),
        drops=_FORGOTTEN | {"truncation"},
    ),
    Endpoint(
        name="messages",
        path="/v1/messages",
        upstream="/v1/chat/completions",
        allowed={
            **_SAMPLING,
            "messages": conversation.anthropic_messages,
            "system": conversation.system_prompt,
            "max_tokens": _OUTPUT,
            "top_k": integer(-1, 1 << 20),
            "stop_sequences": stop,
            "tools": tools.messages_tools,
            "tool_choice": tools.messages_tool_choice,
        },
        required=("model", "messages", "max_tokens"),
        outputs=("max_tokens",),
        drops=_FORGOTTEN,
        translated=True,
    ),
)

BY_PATH = {endpoint.path: endpoint for endpoint in ENDPOINTS}
