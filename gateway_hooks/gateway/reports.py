"""Failures in the log: the text of an exception may quote a prompt; its type and place may not."""

import asyncio
import logging

from gateway_hooks.gateway.ticket import Ticket

log = logging.getLogger("tenantry.gateway")


def log_failure(ticket: Ticket, work: "asyncio.Task[None]") -> None:
    """Of a task that is done, if it failed."""
    if not work.cancelled() and (error := work.exception()) is not None:
        log_error("failed in LiteLLM", ticket, error)


def log_error(what: str, ticket: Ticket, error: BaseException) -> None:
    log.error("request %s %s: %s at %s", ticket.request_id, what, type(error).__name__, place(error))


def place(error: BaseException) -> str:
    """``module:line`` of the innermost frame."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace is not None else "?"
