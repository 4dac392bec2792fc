"""A checked body in which no text holds what the tenant's policy masks; or no request at all."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.body.endpoints import EndpointName
from gateway_hooks.gateway.masking.seams import over_seams
from gateway_hooks.gateway.masking.texts import shaped
from gateway_hooks.pii.errors import PiiBlocked, PiiError
from gateway_hooks.pii.json_text import JsonText
from gateway_hooks.pii.masker import Masker
from gateway_hooks.pii.spans import Span

MOST_CHARS = 1_000_000
"""Of all texts of a request; the time of masking grows with them."""


class Collected(NamedTuple):
    """``groups``: which texts follow each other in the prompt."""

    texts: list[str]
    groups: list[range]


def mask_body(endpoint: EndpointName, fields: dict[str, Any], masker: Masker) -> dict[str, Any]:
    """All texts in one call, so that one value has one placeholder wherever it stands.

    Raises ``GatewayError``: the policy forbids an entity, a name cannot be masked, or masking failed. Its
    text quotes nothing of the body.
    """
    try:
        texts, groups = collected(endpoint, fields)
        found: list[list[Span]] = [[] for _ in texts]
        for placed in over_seams(texts, groups, masker.policy):
            if placed is not None:
                found[placed[0]].append(placed[1])
        return filled(endpoint, fields, texts, masker.mask_texts(texts, found))
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the body must not leave
        raise refused(error) from None


def refused(error: Exception) -> GatewayError:
    """Without the error as its cause: a traceback would hold the text."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, PiiBlocked):
        return GatewayError(Code.PII_BLOCKED, f"This account does not pass on {error.entity}.")
    return GatewayError(Code.PII_FAILED)


def texts_of(endpoint: EndpointName, fields: dict[str, Any]) -> list[str]:
    """Every text that the model may see, in a fixed order; ``JsonText`` where it must stay JSON."""
    return collected(endpoint, fields).texts


def collected(endpoint: EndpointName, fields: dict[str, Any]) -> Collected:
    collector = _Collector()
    shaped(endpoint, fields, collector)
    if sum(map(len, collector.texts)) > MOST_CHARS:
        message = "more text than is masked"
        raise PiiError(message)
    return Collected(collector.texts, collector.groups)


def filled(
    endpoint: EndpointName, fields: dict[str, Any], texts: list[str], masked: list[str]
) -> dict[str, Any]:
    """The body with ``masked`` in place of ``texts``."""
    if masked == texts:
        return fields
    return shaped(endpoint, fields, _Filler(iter(masked)))


class _Collector:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.groups: list[range] = []

    def text(self, text: str) -> str:
        self.texts.append(text)
        return text

    def json_text(self, text: str) -> str:
        self.texts.append(JsonText(text))
        return text

    def document(self, value: Any) -> Any:
        self.texts.append(JsonText(json.dumps(value, ensure_ascii=False)))
        return value

    def fixed(self, text: str) -> None:
        self.texts.append(text)

    @contextmanager
    def together(self) -> Iterator[None]:
        first = len(self.texts)
        yield
        if len(self.texts) - first > 1:
            self.groups.append(range(first, len(self.texts)))


class _Filler:
    def __init__(self, masked: Iterator[str]) -> None:
        self._masked = masked

    def text(self, text: str) -> str:  # noqa: ARG002 - a visitor's signature
        return next(self._masked)

    json_text = text

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def document(self, value: Any) -> Any:  # noqa: ARG002
        return json.loads(next(self._masked))

    def fixed(self, text: str) -> None:
        if next(self._masked) != text:
            message = "A name in it holds what would have to be masked."
            raise GatewayError(Code.PII_UNMASKABLE, message)


def asks_json(endpoint: EndpointName, fields: dict[str, Any]) -> bool:
    """Whether the model's contents are to be JSON."""
    form = fields.get("response_format")
    if endpoint == "responses":
        form = (fields.get("text") or {}).get("format")
    return isinstance(form, dict) and form.get("type") in ("json_object", "json_schema")
