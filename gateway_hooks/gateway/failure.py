"""Why there is no answer, in our words: from what the transport saw, never from what LiteLLM says."""

from gateway_hooks.contract.usage import Outcome
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.ticket import Ticket

RETRY_SECONDS = 2.0
_REFUSED = frozenset({400, 413, 422})
_BUSY = frozenset({429, 503})
_CONTEXT_MARKS = (b"context length", b"max_model_len", b"maximum context", b"longer than the maximum")
_TIMEOUT = 504


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
    if status in _REFUSED:
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
