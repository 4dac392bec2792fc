"""Where texts are in a checked body of each endpoint, for all that can reach the model.

Masked: contents of all roles, reasoning, tool arguments and results, system texts, prompts, inputs, stop
strings, descriptions, schema texts. Names of functions, tools and schemas are agreed between client and
model, so they pass only if there is nothing to mask in them. Ids of calls are texts like others: the same
id becomes the same one in all its places.
"""

from collections.abc import Mapping
from typing import Any

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.body.endpoints import EndpointName
from gateway_hooks.gateway.masking.shapes import (
    Shape,
    Visit,
    document,
    each,
    fixed,
    json_text,
    members,
    plain,
    schema,
    text,
    together,
)


def _content(visit: Visit, value: Any) -> Any:
    return visit.text(value) if isinstance(value, str) else _parts(visit, value)


def _result(visit: Visit, value: Any) -> Any:
    """What a tool gave back: JSON more often than not."""
    return (
        visit.json_text(value)
        if isinstance(value, str)
        else together(each(members(type=plain, text=json_text)))(visit, value)
    )


def _message(visit: Visit, value: dict[str, Any]) -> Any:
    return (_TOOL_MESSAGE if value.get("role") == "tool" else _MESSAGE)(visit, value)


_parts = together(each(members(type=plain, text=text)))


def _tokens_or_text(visit: Visit, value: Any) -> Any:
    """Token ids would have to be decoded with the model's tokenizer to be looked at."""
    if isinstance(value, str):
        return visit.text(value)
    message = "Token ids cannot be masked; send text."
    raise GatewayError(Code.PII_UNMASKABLE, message)


_CALL = members(id=text, type=plain, function=members(name=fixed, arguments=json_text))
_SAID: dict[str, Shape] = {
    "role": plain,
    "name": text,
    "reasoning_content": text,
    "tool_calls": each(_CALL),
    "tool_call_id": text,
}
_MESSAGE = members(**_SAID, content=_content)
_TOOL_MESSAGE = members(**{**_SAID, "name": fixed}, content=_result)
_FUNCTION = {"name": fixed, "description": text, "parameters": schema, "strict": plain}
_SCHEMA: dict[str, Shape] = {"name": fixed, "description": text, "schema": schema, "strict": plain}
_SAMPLING = dict.fromkeys(
    (
        "model", "stream", "temperature", "top_p", "frequency_penalty", "presence_penalty",
        "repetition_penalty", "top_k", "min_p", "seed", "n", "stream_options", "logit_bias", "max_tokens",
        "max_completion_tokens", "max_output_tokens", "logprobs", "top_logprobs", "echo",
        "parallel_tool_calls", "reasoning_effort", "reasoning", "encoding_format", "dimensions",
    ),
    plain,
)  # fmt: skip


def _item(visit: Visit, value: dict[str, Any]) -> Any:
    return _ITEMS[value.get("type", "message")](visit, value)


def _input(visit: Visit, value: Any) -> Any:
    return visit.text(value) if isinstance(value, str) else each(_item)(visit, value)


_IDS: dict[str, Shape] = {"type": plain, "role": plain, "status": plain, "id": text, "call_id": text}
_ITEMS = {
    "message": members(**_IDS, content=_content),
    "function_call": members(**_IDS, name=fixed, arguments=json_text),
    "function_call_output": members(**_IDS, output=json_text),
}


def _blocks(visit: Visit, value: Any) -> Any:
    return visit.text(value) if isinstance(value, str) else together(each(_block))(visit, value)


_block = members(
    type=plain,
    id=text,
    tool_use_id=text,
    is_error=plain,
    name=fixed,
    text=text,
    input=document,
    content=_result,
)

SHAPES: Mapping[EndpointName, Mapping[str, Shape]] = {
    "chat.completions": {
        **_SAMPLING,
        "messages": each(_message),
        "stop": each(text),
        "tools": each(members(type=plain, function=members(**_FUNCTION))),
        "tool_choice": fixed,
        "response_format": members(type=plain, json_schema=members(**_SCHEMA)),
    },
    "completions": {**_SAMPLING, "prompt": _tokens_or_text, "stop": each(text)},
    "embeddings": {**_SAMPLING, "input": _tokens_or_text},
    "responses": {
        **_SAMPLING,
        "input": _input,
        "instructions": text,
        "tools": each(members(type=plain, **_FUNCTION)),
        "tool_choice": fixed,
        "text": members(verbosity=plain, format=members(type=plain, **_SCHEMA)),
    },
    "messages": {
        **_SAMPLING,
        "messages": each(members(role=plain, content=_blocks)),
        "system": _content,
        "stop_sequences": each(text),
        "tools": each(members(name=fixed, description=text, input_schema=schema)),
        "tool_choice": fixed,
    },
}


def shaped(endpoint: EndpointName, fields: dict[str, Any], visit: Visit) -> dict[str, Any]:
    """The body with every text as ``visit`` returns it. Raises ``GatewayError`` naming the parameter."""
    shapes = SHAPES[endpoint]
    made = {}
    for name, value in fields.items():
        try:
            made[name] = shapes.get(name, fixed)(visit, value)
        except GatewayError as error:
            error.param = name
            raise
    return made
