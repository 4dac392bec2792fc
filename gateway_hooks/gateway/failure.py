"""Why there is no answer, in our words: from what the transport saw, never from what LiteLLM says."""

from gateway_hooks.contract.usage import Outcome
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.ticket import Ticket
from gateway_hooks.routing.course import Ending

RETRY_SECONDS = 2.0
_REFUSED = frozenset({400, 413, 422})
_BUSY = frozenset({429, 503})
_CONTEXT_MARKS = (b"context length", b"max_model_len", b"maximum context", b"longer than the maximum")
# What a worker's door says of an adapter that it cannot load: its codes begin so, whatever the status.
_ADAPTER_MARK = b'"code": "adapter_'
_NOT_FOUND = 404
_OK = 200


def ending_of(ticket: Ticket) -> Ending:
    """How a try ended that nobody cut short."""
    status = ticket.upstream_status
    if status is None:
        if ticket.forwarded:
            return "broken"
        return "unreachable" if ticket.unreachable else "local"
    if status == _OK:
        return "answered" if ticket.tap is not None and ticket.tap.complete else "broken"
    if status in _BUSY:
        return "busy"
    if status == _NOT_FOUND or _ADAPTER_MARK in ticket.upstream_text:
        return "adapter"
    return "refused" if status in _REFUSED else "failed"


def failure_of(ticket: Ticket, *, litellm_status: int | None) -> GatewayError:
    """``litellm_status`` is the status that LiteLLM wanted to send, None if it sent nothing at all."""
    status = ticket.upstream_status
    if status is None:
        if ticket.forwarded:
            return GatewayError(Code.UPSTREAM_ERROR)
        if ticket.unreachable:
            return GatewayError(Code.NO_WORKER, retry_after=RETRY_SECONDS)
        refused = litellm_status in _REFUSED
        return GatewayError(Code.INVALID_REQUEST if refused else Code.GATEWAY_ERROR)
    if status in _BUSY:
        return GatewayError(Code.NO_WORKER, retry_after=RETRY_SECONDS)
    if ending_of(ticket) == "refused":
        text = ticket.upstream_text.lower()
        too_long = any(mark in text for mark in _CONTEXT_MARKS)
        return GatewayError(Code.CONTEXT_LENGTH_EXCEEDED if too_long else Code.INVALID_REQUEST)
    return GatewayError(Code.UPSTREAM_ERROR)


def outcome_of(error: GatewayError) -> Outcome:
    """The event's outcome for a request that ends with this error."""
    if error.code == Code.UPSTREAM_TIMEOUT:
        return "timeout"
    if error.code in {Code.UPSTREAM_ERROR, Code.NO_WORKER}:
        return "upstream_error"
    return "gateway_error" if error.code == Code.GATEWAY_ERROR else "rejected"
