"""The tries of one request: each at one worker, through LiteLLM, until one has something for the client.

Nothing is tried again once the client got a byte, nor after the tenant's time.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from gateway_hooks.contract.snapshot import Target
from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.answer import Answer
from gateway_hooks.gateway.failure import ending_of, failure_of
from gateway_hooks.gateway.inner import App, body_once, for_litellm, inner_scope
from gateway_hooks.gateway.plan import begin_try, end_load, forward_to
from gateway_hooks.gateway.reading import ClientGone
from gateway_hooks.gateway.reports import log_failure
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.ticket import TRY, Plan, Ticket
from gateway_hooks.routing.choice import RETRY_SECONDS
from gateway_hooks.routing.course import MAX_TRIES, Course, Ending, Step
from gateway_hooks.routing.dead_letters import Suspect

log = logging.getLogger("tenantry.gateway")

_MAY_HAVE_CRASHED = frozenset({"broken", "failed"})


class Attempts:
    """``inner`` is LiteLLM's app."""

    def __init__(self, inner: App, services: Services) -> None:
        self._inner = inner
        self._services = services

    async def run(
        self,
        ticket: Ticket,
        fields: dict[str, Any],
        *,
        fresh: Callable[[], Answer],
        gone: "asyncio.Task[None]",
        max_tries: int = MAX_TRIES,
    ) -> None:
        """Returns once an answer is complete. Raises ``ClientGone`` and ``GatewayError``.

        ``fields`` are the body. ``fresh`` makes the way to the client for each try; ``gone`` ends when the
        client hangs up.
        """
        plan = ticket.plan
        if plan is None:
            raise GatewayError(Code.GATEWAY_ERROR)
        ticket.fields = fields
        raw = for_litellm(ticket.endpoint, fields)
        deadline = time.monotonic() + plan.caller.tenant.request_timeout_seconds
        course = Course(plan.target, plan.fallback, max_tries=max_tries)
        failure = GatewayError(Code.NO_WORKER, retry_after=RETRY_SECONDS)
        while step := self._next(plan, course):
            if step.pause:
                await asyncio.wait({gone}, timeout=step.pause)
            self._begin(ticket, plan, step)
            answer = fresh()
            ending = await self._try(ticket, raw, answer, gone, deadline)
            if answer.complete:
                return
            failure = failure_of(ticket, litellm_status=answer.failed)
            if answer.started:
                raise failure
            course.ended(step.worker.id, ending)
        raise failure

    def _next(self, plan: Plan, course: Course) -> Step | None:
        now = time.monotonic()
        return course.next(
            lambda target, avoid: self._services.router.place(
                target, tenant_id=plan.caller.tenant.id, now=now, avoid=avoid
            )
        )

    def _begin(self, ticket: Ticket, plan: Plan, step: Step) -> None:
        salt = self._services.settings.salt_secret
        begin_try(self._services, ticket, forward_to(ticket, plan, step.target, step.worker, salt=salt))
        ticket.degraded = step.degraded

    async def _try(
        self, ticket: Ticket, raw: bytes, answer: Answer, gone: "asyncio.Task[None]", deadline: float
    ) -> Ending:
        """Run LiteLLM until it has answered, the client is gone, or the tenant's time is up."""
        work = asyncio.create_task(self._call(ticket, raw, answer))
        ending: Ending = "given_up"
        try:
            timeout = max(deadline - time.monotonic(), 0)
            await asyncio.wait({work, gone}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if work.done() or answer.complete:
                ending = ending_of(ticket)
            elif gone.done():
                raise ClientGone
            else:
                raise GatewayError(Code.UPSTREAM_TIMEOUT)
        finally:
            await self._stop(ticket, answer, work)
            self._learn(ticket, ending)
        return ending

    async def _call(self, ticket: Ticket, raw: bytes, answer: Answer) -> None:
        TRY.set(ticket.attempts)
        await self._inner(inner_scope(ticket.endpoint, raw), body_once(raw), answer)

    async def _stop(self, ticket: Ticket, answer: Answer, work: "asyncio.Task[None]") -> None:
        """LiteLLM gets a moment to end by itself; the worker is cut off unless it has answered in full."""
        patience = self._services.settings.drain_timeout.total_seconds()
        if answer.complete and not work.done():
            await asyncio.wait({work}, timeout=patience)
        if not work.done():
            if ticket.connection is not None:
                ticket.connection.close()
            work.cancel()
            await asyncio.wait({work}, timeout=patience)
        if work.done():
            # An exception that nobody takes would be logged by asyncio, text and all.
            log_failure(ticket, work)
        else:
            log.error("request %s: LiteLLM did not stop", ticket.request_id)

    def _learn(self, ticket: Ticket, ending: Ending) -> None:
        """Breakers, load, and whether this request may have crashed its worker."""
        end_load(self._services, ticket)
        forward = ticket.forward
        if forward is None:
            return
        tenant_id, target = forward.caller.tenant.id, forward.route
        self._services.router.learn(
            forward.worker.id, target, ending, tenant_id=tenant_id, now=time.monotonic()
        )
        # What only a copy met says nothing of the request: its version is on trial.
        if ending in _MAY_HAVE_CRASHED and ticket.shadow_of is None:
            self._suspect(ticket, tenant_id, target)
        if ending == "answered" and ticket.shadow_of is None and ticket.body is not None:
            self._services.crashes.answered(tenant_id, ticket.endpoint.name, ticket.body.fields)

    def _suspect(self, ticket: Ticket, tenant_id: str, target: Target) -> None:
        forward, body = ticket.forward, ticket.body
        if forward is None or body is None:
            return
        letters, worker = self._services.dead_letters, forward.worker
        log.info("request %s failed at worker %s (%s)", ticket.request_id, worker.id, target.pool_id)
        one = Suspect(
            tenant_id=tenant_id,
            alias=forward.alias,
            fingerprint=letters.fingerprint(tenant_id, ticket.endpoint.name, body.fields),
            request_id=ticket.request_id,
            worker_id=worker.id,
            boot_id=worker.boot_id,
        )
        self._services.crashes.suspect(one, worker)
