"""The way back: what a client sees of LiteLLM's answer, and of every error."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.failure import outcome_of
from gateway_hooks.gateway.limits_view import Header, rate_limit_headers, retry_after_header
from gateway_hooks.gateway.reading import Message, Send
from gateway_hooks.gateway.rewrite import EVENT_END, Rewriter
from gateway_hooks.gateway.ticket import Ticket

_DATA = b"data:"
_LAST_MARKS = (
    b"data: [DONE]",
    b"event: message_stop",
    b"event: response.completed",
    b"event: response.incomplete",
    b'data: {"type":"response.completed"',
    b'data: {"type":"response.incomplete"',
)
_ERROR_MARKS = (b'{"error"', b'{"type":"error"', b'{"type": "error"', b'{"type":"response.failed"')
ERROR_STATUS = 400
FRAMES_PER_CHOICE = 4
FRAMES = 16
"""Events of a stream that carry no token: its first and last ones, the counts."""


def error_body(error: GatewayError, *, anthropic: bool = False) -> bytes:
    detail = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    whole: dict[str, Any] = {"error": detail}
    if anthropic:
        whole = {"type": "error", **whole}
    return msgspec.json.encode(whole)


async def send_json(
    send: Send, *, status: int, body: bytes, headers: list[Header], kind: bytes = b"application/json"
) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", kind),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


class Answer:
    """The ``send`` that LiteLLM gets.

    Its headers are dropped but for two, its error texts are never passed on. ``finish`` is awaited before
    the last bytes leave, so that whoever has the answer in hand has its slot back, too.
    """

    def __init__(
        self, send: Send, ticket: Ticket, *, clock: Callable[[], float], finish: Callable[[], Awaitable[None]]
    ) -> None:
        self._send = send
        self._ticket = ticket
        self._clock = clock
        self._finish = finish
        self._start: Message | None = None
        self._rest = self._engines_rest = b""
        self._made: Rewriter | None = None
        self._events = False
        self.failed: int | None = None
        self.started = False
        self.complete = False

    @property
    def _rewriter(self) -> Rewriter:
        """Made late: where the request goes is known only after the admission."""
        if self._made is None:
            self._made = Rewriter(self._ticket)
        return self._made

    @property
    def _anthropic(self) -> bool:
        return self._ticket.endpoint.name == "messages"

    def _headers(self) -> list[Header]:
        ticket = self._ticket
        headers = [(b"x-request-id", ticket.request_id.encode())]
        if ticket.degraded:
            headers.append((b"x-tenantry-degraded", b"fallback"))
        if ticket.ask is not None and ticket.verdict is not None:
            headers += rate_limit_headers(ticket.ask, ticket.verdict)
        return headers

    async def __call__(self, message: Message) -> None:
        if self._ticket.closed or self.complete or self.failed is not None:
            return
        if message["type"] == "http.response.start":
            if message["status"] >= ERROR_STATUS:
                self.failed = message["status"]
            else:
                self._start = message
        elif message["type"] == "http.response.body":
            await self._body(message.get("body", b""), last=not message.get("more_body", False))

    async def _body(self, body: bytes, *, last: bool) -> None:
        try:
            await self._answer(body, last=last)
        except GatewayError as error:
            await self._give_up(error)

    async def _answer(self, body: bytes, *, last: bool) -> None:
        if self._start is None and not self.started:
            self._start = {"status": 500, "headers": []}
        if not self.started and self._is_events():
            self._events = True
            await self._send(self._head(None))
        if self._events:
            await self._pass_events(body, last=last)
            return
        # LiteLLM sends a plain answer whole; parts would have to be joined before they are repaired.
        self._rest += body
        if last:
            whole = self._rewriter.whole(self._rest)
            await self._all(self._head(len(whole)), whole)

    def _kind(self) -> bytes:
        start = self._start or {"headers": []}
        sent = {name.lower(): value for name, value in start["headers"]}
        kind: bytes = sent.get(b"content-type", b"application/json")
        return kind

    def _is_events(self) -> bool:
        return self._kind().startswith(b"text/event-stream")

    def _head(self, length: int | None) -> Message:
        status = self._start["status"] if self._start else 500
        headers = [(b"content-type", self._kind()), *self._headers()]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        self._ticket.status = status
        self.started = True
        return {"type": "http.response.start", "status": status, "headers": headers}

    async def _all(self, start: Message, body: bytes) -> None:
        """Head and body of a plain answer leave in one write, after the end of the request."""
        self._ticket.outcome = "completed"
        if body:
            self._ticket.first_byte = self._clock()
        self.complete = True
        await self._finish()
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _pass(self, body: bytes) -> None:
        if body and self._ticket.first_byte is None:
            self._ticket.first_byte = self._clock()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _end(self, body: bytes) -> None:
        if body and self._ticket.first_byte is None:
            self._ticket.first_byte = self._clock()
        self.complete = True
        await self._finish()
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _pass_events(self, body: bytes, *, last: bool) -> None:
        """Whole server-sent events only: an error event of LiteLLM's is replaced by our own."""
        *events, self._rest = (self._rest + body).split(EVENT_END)
        ending = last or any(event.startswith(_LAST_MARKS) for event in events)
        failed = any(map(_is_error, events))
        events = self._engines(events)
        if self._overran():
            await self.break_off(GatewayError(Code.UPSTREAM_ERROR))
            return
        if failed or any(map(_is_error, events)):
            await self.break_off(GatewayError(Code.UPSTREAM_ERROR))
            return
        whole = b"".join(map(self._rewriter.event, events))
        if ending:
            await self._end_events(whole)
        elif whole:
            await self._pass(whole)

    def _overran(self) -> bool:
        """The worker says more than was reserved: it is cut off, and its own event tells what it used."""
        tap, plan = self._ticket.tap, self._ticket.plan
        if tap is None or plan is None:
            return False
        return tap.events > plan.choices * (plan.max_output + FRAMES_PER_CHOICE) + FRAMES

    def _engines(self, events: list[bytes]) -> list[bytes]:
        """What the engine itself has sent until now, where the client speaks its dialect."""
        tap = self._ticket.tap
        if tap is None or not tap.keeps:
            return events
        *events, self._engines_rest = (self._engines_rest + tap.take()).split(EVENT_END)
        return events

    async def _end_events(self, whole: bytes) -> None:
        """A stream is complete only if the engine's was: LiteLLM ends a broken one as if it were."""
        tap = self._ticket.tap
        if tap is None or not tap.complete:
            await self.break_off(GatewayError(Code.UPSTREAM_ERROR))
            return
        self._ticket.outcome = "completed"
        await self._end(whole)

    async def _give_up(self, error: GatewayError) -> None:
        """The answer is there but must not be given out."""
        if self.started:
            await self.break_off(error)
            return
        self._ticket.outcome, self._ticket.status = outcome_of(error), error.status
        self._ticket.reason = error.code
        self.complete = True
        await self._finish()
        await self.refuse(error)

    async def break_off(self, error: GatewayError) -> None:
        """End a stream that has begun: the error as its last event."""
        if self.complete or not self.started:
            return
        if self._ticket.connection is not None:
            self._ticket.connection.close()
        self._ticket.outcome = outcome_of(error)
        self._ticket.reason = error.code
        event = _DATA + b" " + error_body(error, anthropic=self._anthropic) + EVENT_END
        await self._end((b"event: error\n" + event) if self._anthropic else event)

    async def refuse(self, error: GatewayError) -> None:
        """An error as the whole answer."""
        self.started = self.complete = True
        body = error_body(error, anthropic=self._anthropic)
        await send_json(
            self._send,
            status=error.status,
            body=body,
            headers=[*self._headers(), *retry_after_header(error)],
        )


def _is_error(event: bytes) -> bool:
    if not any(mark in event for mark in _ERROR_MARKS):
        return False
    return any(
        line.startswith(_DATA) and line[len(_DATA) :].lstrip().startswith(_ERROR_MARKS)
        for line in event.split(b"\n")
    )
