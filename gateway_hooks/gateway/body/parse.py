"""Bytes -> checked body."""

from typing import Any

import msgspec

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.body.checks import invalid, unsupported
from gateway_hooks.gateway.body.endpoints import Endpoint
from gateway_hooks.identity.end_user import end_user_of


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """``fields`` is what goes on; ``wants_usage`` is whether a streaming client asked for the usage chunk.

    ``choices`` (``n``): so many answers are generated, each up to ``max_output`` tokens. ``end_user`` is what
    the app calls its user: never sent on, and kept only as a keyed hash.
    """

    fields: dict[str, Any]
    alias: str
    stream: bool
    wants_usage: bool
    max_output: int | None
    choices: int = 1
    end_user: str | None = None


def parse(raw: bytes, endpoint: Endpoint) -> Body:
    """Raises ``GatewayError`` naming the first parameter that may not pass."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GatewayError(Code.INVALID_JSON) from error
    if not isinstance(document, dict):
        raise GatewayError(Code.INVALID_JSON)
    fields = _allowed(document, endpoint)
    for name in endpoint.required:
        if name not in fields:
            raise invalid(name, "is missing")
    stream = fields.get("stream", False)
    wants_usage = fields.get("stream_options", {}).get("include_usage", False)
    if "stream_options" in fields and not stream:
        name = "stream_options"
        raise invalid(name, "goes with `stream` only")
    asked = [fields[name] for name in endpoint.outputs if name in fields]
    return Body(
        fields=fields,
        alias=fields["model"],
        stream=stream,
        wants_usage=wants_usage,
        max_output=min(asked, default=None),
        choices=fields.get("n", 1),
        end_user=end_user_of(document, endpoint.name),
    )


def _allowed(document: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    fields = {}
    for name, value in document.items():
        check = endpoint.allowed.get(name)
        if check is not None:
            checked = None if value is None else check(value, name)
            if checked is not None:
                fields[name] = checked
        elif name not in endpoint.drops and value is not None:
            raise unsupported(name)
    return fields


def clamp_output(body: Body, endpoint: Endpoint, *, limit: int) -> tuple[dict[str, Any], int]:
    """``(fields, output cap)``: the cap always stands in the body, under one name, at most ``limit``."""
    if not endpoint.generates:
        return body.fields, 0
    cap = min(limit, body.max_output or limit)
    fields = {name: value for name, value in body.fields.items() if name not in endpoint.outputs}
    fields[endpoint.outputs[-1]] = cap
    return fields, cap
