"""A model's chat template, rendered as transformers and vLLM render it (vLLM 0.32, transformers 5).

Jinja in the immutable sandbox, blocks trimmed, ``tojson`` without HTML escaping. A template is the
operator's file, never a client's; what a client wrote only passes through it as data.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gateway_hooks.tokens.content_format import wants_parts
from gateway_hooks.tokens.errors import TemplateRefusedError, TokenizerError

Message = dict[str, Any]
_FAILURES = (
    jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError,
)  # fmt: skip


class _Generation(Extension):
    """``{% generation %}`` marks what an assistant said, for training. Here it is just its content."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - templates call it this way
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _strftime_now(form: str) -> str:
    """Local time, as at the worker: the one thing in a prompt that two hosts may render differently."""
    return time.strftime(form)


def _environment() -> ImmutableSandboxedEnvironment:
    # No HTML is made here: escaping would change the prompt.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols], autoescape=False
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class ChatTemplate:
    """``special`` are the tokens that a template may name (``bos_token`` and the like).

    ``parts``: whether content reaches the template as a list of parts. ``tells_the_time``: its prompts
    depend on the worker's clock. ``TokenizerError`` for a text that is no template.
    """

    def __init__(self, source: str, special: Mapping[str, Any]) -> None:
        environment = _environment()
        try:
            self._template = environment.from_string(source)
            self.parts = wants_parts(environment.parse(source))
        except jinja2.TemplateError as error:
            message = f"the chat template does not compile: {error}"
            raise TokenizerError(message) from error
        self.tells_the_time = "strftime_now" in source
        self.knows_developer = "'developer'" in source or '"developer"' in source
        self._special = dict(special)

    def render(self, messages: Sequence[Message], tools: list[Any] | None, options: Mapping[str, Any]) -> str:
        """Raises ``TemplateRefusedError``, whose text says nothing of the conversation."""
        given = {"documents": None, "add_generation_prompt": True, **options}
        try:
            return self._template.render(**{**self._special, "messages": messages, "tools": tools, **given})
        except _FAILURES as error:
            message = f"the chat template raised {type(error).__name__}"
            raise TemplateRefusedError(message) from None
