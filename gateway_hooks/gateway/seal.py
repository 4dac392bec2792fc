"""The last look at a body before it is signed: what a worker gets is what we mean, whatever came between.

LiteLLM knows neither worker nor adapter nor salt; they are put in here, and keys that no endpoint of
ours sends are taken out. Where LiteLLM has nothing to translate it does not know the texts either: the body
is the client's, as checked and masked.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_hooks.errors import Code, GatewayError

_GENERATION = frozenset(
    {
        "stream", "temperature", "top_p", "frequency_penalty", "presence_penalty", "repetition_penalty",
        "top_k", "min_p", "seed", "stop", "logit_bias", "stream_options",
    }
)  # fmt: skip
_SENT: dict[str, frozenset[str]] = {
    "/v1/chat/completions": _GENERATION
    | {
        "messages", "max_tokens", "max_completion_tokens", "logprobs", "top_logprobs", "tools",
        "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
    },
    "/v1/completions": _GENERATION | {"prompt", "max_tokens", "logprobs", "echo"},
    "/v1/embeddings": frozenset({"input", "encoding_format", "dimensions"}),
    "/v1/responses": frozenset(
        {
            "stream", "temperature", "top_p", "input", "instructions", "max_output_tokens", "tools",
            "tool_choice", "parallel_tool_calls", "text", "reasoning",
        }
    ),
}  # fmt: skip
_OUTPUT = {
    "/v1/chat/completions": "max_tokens",
    "/v1/completions": "max_tokens",
    "/v1/responses": "max_output_tokens",
}


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of the body that leaves. ``path`` is the worker's, ``choices`` its ``n``."""

    path: str
    model: str
    cache_salt: str
    max_output: int
    stream: bool
    choices: int = 1


def parsed(raw: bytes) -> dict[str, Any]:
    """LiteLLM's own body, where it translates. Raises ``GatewayError`` for bytes that are no JSON object."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise GatewayError(Code.GATEWAY_ERROR) from error


def sealed(document: Mapping[str, Any], seal: Seal) -> bytes:
    """The body to sign and send."""
    sent = _SENT[seal.path]
    body = {name: value for name, value in document.items() if name in sent and value is not None}
    body["model"] = seal.model
    body["cache_salt"] = seal.cache_salt
    output = _OUTPUT.get(seal.path)
    if output is not None:
        body.pop("max_completion_tokens", None)
        body[output] = seal.max_output
        body["stream"] = seal.stream
    if seal.choices > 1:
        body["n"] = seal.choices
    if seal.path == "/v1/responses":
        body["store"] = False
    elif seal.stream:
        # The engine's own count ends every stream; LiteLLM hands it on only to who asked for it.
        body["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(body)
