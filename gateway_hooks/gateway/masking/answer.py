"""The restorer of an answer, by endpoint."""

from typing import Any, Protocol

from gateway_hooks.gateway.body.endpoints import EndpointName
from gateway_hooks.gateway.masking.blocks import Blocks
from gateway_hooks.gateway.masking.chunks import Chunks
from gateway_hooks.gateway.masking.documents import readable
from gateway_hooks.gateway.masking.items import Items
from gateway_hooks.gateway.masking.mask import Mask


class _Stream(Protocol):
    @property
    def stirred(self) -> bool: ...

    def event(self, event: dict[str, Any]) -> list[dict[str, Any]]: ...

    def end(self) -> list[dict[str, Any]]: ...


_STREAMS: dict[EndpointName, type[Chunks] | type[Items] | type[Blocks]] = {
    "chat.completions": Chunks,
    "completions": Chunks,
    "responses": Items,
    "messages": Blocks,
}


class Unmasking:
    """One answer on its way to the client. What needs no look is not to be parsed: ask ``stirs`` first."""

    def __init__(self, mask: Mask, endpoint: EndpointName) -> None:
        self._mask = mask
        kind = _STREAMS.get(endpoint)
        self._stream: _Stream | None = None if kind is None else kind(mask)

    def stirs(self, raw: bytes) -> bool:
        return self._mask.stirs(raw) or (self._stream is not None and self._stream.stirred)

    def whole(self, answer: Any) -> Any:
        return readable(self._mask, answer)

    def event(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """What to send in its place, in this order. Raises ``GatewayError``: the answer must end here."""
        return [event] if self._stream is None else self._stream.event(event)

    def end(self) -> list[dict[str, Any]]:
        """What to send before the end mark."""
        return [] if self._stream is None else self._stream.end()
