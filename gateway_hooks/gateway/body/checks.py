"""One parameter at a time: each check returns the value to send on, or refuses it by name."""

import math
from collections.abc import Callable
from typing import Any

from gateway_hooks.contract.choices import MAX_CHOICES
from gateway_hooks.errors import Code, GatewayError

Check = Callable[[Any, str], Any]

MAX_STOP = 16
MAX_STOP_LENGTH = 256
MAX_TOOLS = 128
MAX_LOGIT_BIAS = 1024
MAX_TOKENS = 1 << 31


def invalid(name: str, why: str) -> GatewayError:
    return GatewayError(Code.INVALID_PARAMETER, f"`{name}` {why}.", param=name)


def unsupported(name: str) -> GatewayError:
    return GatewayError(Code.UNSUPPORTED_PARAMETER, f"`{name}` is not supported.", param=name)


def boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(name, "must be true or false")
    return value


def integer(low: int, high: int) -> Check:
    def check(value: Any, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise invalid(name, f"must be an integer from {low} to {high}")
        return value

    return check


def number(low: float, high: float) -> Check:
    def check(value: Any, name: str) -> float:
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not usable or not low <= value <= high:
            raise invalid(name, f"must be a number from {low:g} to {high:g}")
        return value  # type: ignore[no-any-return]

    return check


def text(max_length: int) -> Check:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or len(value) > max_length:
            raise invalid(name, f"must be a string of at most {max_length} characters")
        return value

    return check


def one_of(*allowed: str) -> Check:
    def check(value: Any, name: str) -> str:
        if value not in allowed:
            raise invalid(name, f"must be one of {', '.join(allowed)}")
        return value  # type: ignore[no-any-return]

    return check


def choices(value: Any, name: str) -> int | None:
    """``n``; the usual 1 is left out."""
    count = integer(1, MAX_CHOICES)(value, name)
    return None if count == 1 else int(count)


def stop(value: Any, name: str) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or len(values) > MAX_STOP:
        raise invalid(name, f"must be a string or a list of at most {MAX_STOP} strings")
    return [text(MAX_STOP_LENGTH)(entry, name) for entry in values]


def logit_bias(value: Any, name: str) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > MAX_LOGIT_BIAS:
        raise invalid(name, f"must be an object of at most {MAX_LOGIT_BIAS} entries")
    bias = number(-100, 100)
    for token in value:
        if not token.isdecimal():
            raise invalid(name, "must map token ids to numbers")
    return {token: bias(entry, name) for token, entry in value.items()}


def stream_options(value: Any, name: str) -> dict[str, bool]:
    cleaned = members(value, name, {"include_usage": boolean})
    return {"include_usage": cleaned.get("include_usage", False)}


def json_object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(name, "must be an object")
    return value


def members(
    value: Any, name: str, allowed: dict[str, Check], *, required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """An object with these members and no others; null means absent."""
    cleaned = {}
    for key, entry in json_object(value, name).items():
        check = allowed.get(key)
        if check is None:
            if entry is None:
                continue
            at = f"{name}.{key}"
            raise unsupported(at)
        if entry is not None:
            cleaned[key] = check(entry, f"{name}.{key}")
    for key in required:
        if key not in cleaned:
            at = f"{name}.{key}"
            raise invalid(at, "is missing")
    return cleaned
