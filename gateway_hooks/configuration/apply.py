"""A configuration and a checked body -> the body that goes on.

Order: what is not allowed is refused; absent parameters get their defaults; bounds move what lies outside;
stop words are added; the system prompt comes before everything that the client says.
"""

from typing import Any, NamedTuple

import msgspec

from gateway_hooks.configuration.parameters import ALL_TOKENS, OUTPUTS, STOPS, UNSENT
from gateway_hooks.configuration.prompting import with_system_prompt
from gateway_hooks.configuration.tool_names import check_tools
from gateway_hooks.contract.snapshot import Bound, Configuration
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.body.checks import MAX_STOP
from gateway_hooks.gateway.body.endpoints import Endpoint
from gateway_hooks.gateway.body.parse import Body

Fields = dict[str, Any]


class Applied(NamedTuple):
    """``max_output_cap`` is the configuration's, in tokens, for endpoints that generate.

    ``notes`` name what was done, for consoles and tests: ``defaulted:<name>``, ``bounded:<name>``,
    ``skipped:<name>`` for what this endpoint cannot take.
    """

    fields: Fields
    max_output_cap: int | None
    notes: tuple[str, ...]


def configure(body: Body, configuration: Configuration, endpoint: Endpoint) -> tuple[Body, int | None]:
    """The body that goes on and the cap of its output. Raises ``GatewayError`` as ``apply`` does."""
    applied = apply(configuration, body.fields, endpoint)
    asked = [applied.fields[name] for name in endpoint.outputs if name in applied.fields]
    changed = msgspec.structs.replace(
        body,
        fields=applied.fields,
        max_output=min(asked, default=None),
        choices=applied.fields.get("n", 1),
    )
    return changed, applied.max_output_cap


def apply(configuration: Configuration, fields: Fields, endpoint: Endpoint) -> Applied:
    """``fields`` is a checked body and stays as it is. Raises ``GatewayError``.

    ``endpoint_not_allowed``, ``tool_not_allowed``, or ``invalid_parameter`` for token ids or ``echo`` under a
    system prompt.
    """
    if configuration.endpoints is not None and endpoint.name not in configuration.endpoints:
        raise GatewayError(Code.ENDPOINT_NOT_ALLOWED)
    check_tools(configuration.tools, fields)
    if not endpoint.generates:
        return Applied(fields, None, ())
    notes: list[str] = []
    changed = dict(fields)
    _set_defaults(changed, configuration.defaults, endpoint, notes)
    for name, bound in configuration.bounds.items():
        _keep_within(changed, name, bound, endpoint, notes)
    _add_stops(changed, configuration.stop, endpoint, notes)
    changed = with_system_prompt(configuration.system_prompt, changed, endpoint)
    return Applied(changed, configuration.max_output_tokens, tuple(notes))


def _set_defaults(fields: Fields, defaults: Fields, endpoint: Endpoint, notes: list[str]) -> None:
    for wanted, value in defaults.items():
        name = endpoint.outputs[-1] if wanted in OUTPUTS else wanted
        present = fields.keys() & set(endpoint.outputs) if wanted in OUTPUTS else name in fields
        if present:
            continue
        accepted = accepted_value(endpoint, name, value)
        if accepted is None:
            notes.append(f"skipped:{name}")
        else:
            fields[name] = accepted
            notes.append(f"defaulted:{name}")


def accepted_value(endpoint: Endpoint, name: str, value: Any) -> Any | None:
    """What the endpoint's own check makes of it; None where it has no such parameter or refuses the value."""
    check = endpoint.allowed.get(name)
    if check is None or value is None:
        return None
    try:
        return check(value, name)
    except GatewayError:
        return None


def _keep_within(fields: Fields, name: str, bound: Bound, endpoint: Endpoint, notes: list[str]) -> None:
    if name not in endpoint.allowed or name not in UNSENT:
        notes.append(f"skipped:{name}")
        return
    value = fields.get(name, UNSENT[name])
    moved = nearest(name, value, bound)
    if moved != value:
        fields[name] = moved
        notes.append(f"bounded:{name}")


def nearest(name: str, value: float, bound: Bound) -> float:
    """``value``, or the end of the bound that it went beyond; whole numbers stay whole."""
    low, high = bound.low, bound.high
    if name == "top_k" and value <= ALL_TOKENS:
        return value if high is None else int(high)
    whole = isinstance(UNSENT[name], int)
    if high is not None and value > high:
        return int(high) if whole else high
    if low is not None and value < low:
        return -int(-low // 1) if whole else low
    return value


def _add_stops(fields: Fields, stop: tuple[str, ...], endpoint: Endpoint, notes: list[str]) -> None:
    """Ours first: of more than the endpoint takes, it is the client's that go."""
    if not stop:
        return
    name = next((name for name in STOPS if name in endpoint.allowed), None)
    if name is None:
        notes.append("skipped:stop")
        return
    fields[name] = list(dict.fromkeys([*stop, *fields.get(name, [])]))[:MAX_STOP]
