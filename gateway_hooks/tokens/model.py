"""One model's tokenizer and chat template, read from its folder. Immutable, used by many threads."""

import json
import os
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from gateway_hooks.tokens.dialects import Conversation
from gateway_hooks.tokens.errors import TemplateRefusedError, TokenizerError
from gateway_hooks.tokens.messages import prepared
from gateway_hooks.tokens.template import ChatTemplate

# One prompt at a time: a pool of threads per process would only fight with the event loop for its cores.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
OLD_TEMPLATE = "chat_template.json"
SPECIAL_TOKENS = "special_tokens_map.json"
CLOCK_MARGIN = 8
"""Tokens: another day at the worker may have a longer name."""
FILES = (TOKENIZER, CONFIG, TEMPLATE, OLD_TEMPLATE, SPECIAL_TOKENS)
_DEFAULT, _WITH_TOOLS = "default", "tool_use"


class ModelTokenizer:
    """Made by ``load``."""

    def __init__(self, tokenizer: Tokenizer, templates: dict[str, ChatTemplate]) -> None:
        self._tokenizer = tokenizer
        self._templates = templates
        self._max_characters = max(map(len, tokenizer.get_vocab()), default=1)

    def text_tokens(self, text: str, *, special: bool, limit: int) -> int:
        """``special``: with what ``tokenizer.json`` puts around a plain text.

        A text that cannot fit into ``limit`` tokens is not tokenized: the least it can have is returned.
        Raises ``TokenizerError`` for a text that has no UTF-8.
        """
        least = -(-len(text) // self._max_characters)
        if least > limit:
            return least
        try:
            return len(self._tokenizer.encode_batch_fast([text], add_special_tokens=special)[0])
        except (UnicodeEncodeError, TypeError):
            message = "the text has no UTF-8"
            raise TokenizerError(message) from None

    def conversation_tokens(
        self, conversation: Conversation, *, special: bool, limit: int
    ) -> tuple[int, int]:
        """(tokens as counted here, tokens that the engine may count on top).

        Raises ``TokensError`` where the template, or its absence, does not let it be rendered.
        """
        template = self._template(with_tools=conversation.tools is not None)
        messages = prepared(conversation.messages, template)
        text = template.render(messages, conversation.tools, conversation.options)
        margin = conversation.margin + (CLOCK_MARGIN if template.tells_the_time else 0)
        return self.text_tokens(text, special=special, limit=limit), margin

    def _template(self, *, with_tools: bool) -> ChatTemplate:
        chosen = self._templates.get(_WITH_TOOLS) if with_tools else None
        chosen = chosen or self._templates.get(_DEFAULT)
        if chosen is None:
            message = "the model has no chat template"
            raise TemplateRefusedError(message)
        return chosen


def load(folder: Path) -> ModelTokenizer:
    """Reads files and compiles: not for the event loop. Raises ``TokenizerError``."""
    try:
        config = _json(folder / CONFIG)
        old = {} if not (folder / OLD_TEMPLATE).exists() else _json(folder / OLD_TEMPLATE)
        special = _special_tokens(_json(folder / SPECIAL_TOKENS) | config)
        sources = _sources(folder, {**old, **config})
    except (OSError, ValueError, LookupError, TypeError) as error:
        message = f"{folder} has no usable tokenizer: {type(error).__name__}"
        raise TokenizerError(message) from error
    tokenizer = _tokenizer(folder / TOKENIZER)
    _add_missing(tokenizer, special)
    templates = {name: ChatTemplate(source, special) for name, source in sources.items()}
    return ModelTokenizer(tokenizer, templates)


def _tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises nothing more exact
        message = f"{path} is no tokenizer"
        raise TokenizerError(message) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _json(path: Path) -> dict[str, Any]:
    """An absent file is an empty one; ``TypeError`` for anything but an object."""
    if not path.exists():
        return {}
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        message = f"{path.name} is no JSON object"
        raise TypeError(message)
    return value


def _text(token: Any) -> Any:
    return token.get("content") if isinstance(token, dict) else token


def _special_tokens(config: dict[str, Any]) -> dict[str, Any]:
    """``{"eos_token": "<|end|>", …}``, as the template may name them."""
    return {
        name: text
        for name, value in config.items()
        if name.endswith("_token") and not name.startswith("add_") and isinstance(text := _text(value), str)
    }


def _sources(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """Templates by name; a file of its own goes before the configuration."""
    if (folder / TEMPLATE).exists():
        return {_DEFAULT: (folder / TEMPLATE).read_text(encoding="utf-8")}
    given = config.get("chat_template")
    if isinstance(given, list):
        return {entry["name"]: entry["template"] for entry in given}
    return {_DEFAULT: given} if isinstance(given, str) else {}


def _add_missing(tokenizer: Tokenizer, special: dict[str, Any]) -> None:
    """A special token that only the configuration names is one token there, too."""
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    missing = sorted(set(special.values()) - known)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in missing])
