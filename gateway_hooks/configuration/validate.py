"""Whether a configuration can be published, and if not, everything that is wrong with it."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway_hooks.configuration.apply import accepted_value, nearest
from gateway_hooks.configuration.parameters import DEFAULTABLE, OUTPUTS, STOPS, UNSENT
from gateway_hooks.contract.errors import ContractError
from gateway_hooks.contract.snapshot import Bound, Configuration
from gateway_hooks.gateway.body.checks import MAX_STOP, MAX_STOP_LENGTH, MAX_TOKENS, MAX_TOOLS
from gateway_hooks.gateway.body.endpoints import ENDPOINTS

MAX_SYSTEM_PROMPT = 32_768
MAX_NAME = 128


class Problem(NamedTuple):
    """``field`` is a path such as ``bounds.temperature``; ``why`` completes a sentence about it."""

    field: str
    why: str


class ConfigurationError(ContractError):
    """The configuration cannot be published. ``problems`` are all there are."""

    code = "configuration_invalid"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{problem.field} {problem.why}" for problem in problems))
        self.problems = problems


def validate(configuration: Configuration) -> None:
    """Raises ``ConfigurationError``."""
    problems = (
        *_text(configuration.system_prompt),
        *_defaults(configuration),
        *_bounds(configuration.bounds),
        *_stop(configuration.stop),
        *_output(configuration),
        *_endpoints(configuration.endpoints),
        *_tools(configuration.tools),
    )
    if problems:
        raise ConfigurationError(problems)


def _text(system_prompt: str) -> Iterator[Problem]:
    if len(system_prompt) > MAX_SYSTEM_PROMPT:
        yield Problem("system_prompt", f"is longer than {MAX_SYSTEM_PROMPT} characters")
    elif system_prompt and not system_prompt.strip():
        yield Problem("system_prompt", "is blank")
    if not _is_unicode(system_prompt):
        yield Problem("system_prompt", "holds half of a character pair")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _defaults(configuration: Configuration) -> Iterator[Problem]:
    served = [e for e in ENDPOINTS if configuration.endpoints is None or e.name in configuration.endpoints]
    for name, value in configuration.defaults.items():
        field = f"defaults.{name}"
        if name in STOPS:
            yield Problem(field, "is set by `stop`")
        elif name not in DEFAULTABLE:
            yield Problem(field, "is no parameter that can have a default")
        elif not any(accepted_value(endpoint, name, value) is not None for endpoint in served):
            yield Problem(field, "is not accepted by any of the endpoints")
        elif _beyond(name, value, configuration.bounds):
            yield Problem(field, "lies outside its bounds")
    given = sorted(OUTPUTS & configuration.defaults.keys())
    for name in given[1:]:
        yield Problem(f"defaults.{name}", f"means the same as {given[0]}")


def _beyond(name: str, value: Any, bounds: dict[str, Bound]) -> bool:
    return name in bounds and name in UNSENT and nearest(name, value, bounds[name]) != value


def _bounds(bounds: dict[str, Bound]) -> Iterator[Problem]:
    for name, bound in bounds.items():
        field = f"bounds.{name}"
        ends = [end for end in bound_ends(bound) if end is not None]
        if name in OUTPUTS:
            yield Problem(field, "is set by `max_output_tokens`")
        elif name not in UNSENT:
            yield Problem(field, "is no number that can be bounded")
        elif not ends:
            yield Problem(field, "has no end")
        elif not all(_fits(name, end) for end in ends):
            yield Problem(field, "has an end that no endpoint accepts")
        elif ends != sorted(ends):
            yield Problem(field, "has its low end above its high one")


def bound_ends(bound: Bound) -> tuple[float | None, float | None]:
    return bound.low, bound.high


def _fits(name: str, end: float) -> bool:
    """``n`` 1 is fine, though a body leaves it out; a ``top_k`` of all tokens bounds nothing."""
    if not math.isfinite(end):
        return False
    if isinstance(UNSENT[name], int):
        if end != int(end) or end < 1:
            return False
        return end == 1 or any(accepted_value(endpoint, name, int(end)) for endpoint in ENDPOINTS)
    return any(accepted_value(endpoint, name, end) is not None for endpoint in ENDPOINTS)


def _stop(stop: tuple[str, ...]) -> Iterator[Problem]:
    if len(stop) > MAX_STOP:
        yield Problem("stop", f"has more than {MAX_STOP} words")
    if not all(0 < len(word) <= MAX_STOP_LENGTH and _is_unicode(word) for word in stop):
        yield Problem("stop", f"has a word that is empty or longer than {MAX_STOP_LENGTH} characters")
    if len(set(stop)) < len(stop):
        yield Problem("stop", "has a word twice")


def _output(configuration: Configuration) -> Iterator[Problem]:
    cap = configuration.max_output_tokens
    if cap is not None and not 1 <= cap <= MAX_TOKENS:
        yield Problem("max_output_tokens", f"is not from 1 to {MAX_TOKENS}")
    elif cap is not None:
        for name in sorted(OUTPUTS & configuration.defaults.keys()):
            value = configuration.defaults[name]
            if isinstance(value, int) and value > cap:
                yield Problem(f"defaults.{name}", "is more than `max_output_tokens`")


def _endpoints(endpoints: tuple[str, ...] | None) -> Iterator[Problem]:
    if endpoints is None:
        return
    known = {endpoint.name for endpoint in ENDPOINTS}
    if not endpoints:
        yield Problem("endpoints", "is empty, so nothing could be asked")
    if unknown := sorted(set(endpoints) - known):
        yield Problem("endpoints", f"has no {', '.join(unknown)[:200]}")
    if len(set(endpoints)) < len(endpoints):
        yield Problem("endpoints", "has a name twice")


def _tools(tools: tuple[str, ...] | None) -> Iterator[Problem]:
    if tools is None:
        return
    if len(tools) > MAX_TOOLS:
        yield Problem("tools", f"has more than {MAX_TOOLS} names")
    if not all(0 < len(name) <= MAX_NAME for name in tools):
        yield Problem("tools", f"has a name that is empty or longer than {MAX_NAME} characters")
    if len(set(tools)) < len(tools):
        yield Problem("tools", "has a name twice")
