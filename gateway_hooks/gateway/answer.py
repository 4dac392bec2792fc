"""The way back: what a client sees of LiteLLM's answer, and of every error."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway_hooks.errors import Code, GatewayError
from gateway_hooks.gateway.limits_view import Header, rate_limit_headers, retry_after_header
from gateway_hooks.gateway.reading import Message, Send
from gateway_hooks.gateway.rewrite import Rewriter
from gateway_hooks.gateway.ticket import Ticket

_EVENT_END = b"\n\n"
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


def error_body(error: GatewayError, *, anthropic: bool = False) -> bytes:
    detail = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    whole: dict[str, Any] = {"error": detail}
    if anthropic:
        whole = {"type": "error", **whole}
    return msgspec.json.encode(whole)


async def send_json(send: Send, *, status: int, body: bytes, headers: list[Header]) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
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
        self._rest = b""
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
        if not self.started:
            start = self._head(body, last=last)
            if last and not self._events:
                await self._all(start, self._rewriter.whole(body))
                return
            await self._send(start)
        if self._events:
            await self._pass_events(body, last=last)
        elif last:
            self._ticket.outcome = "completed"
            await self._end(self._rewriter.whole(body))
        else:
            await self._pass(self._rewriter.whole(body))

    def _head(self, body: bytes, *, last: bool) -> Message:
        start = self._start or {"status": 500, "headers": []}
        sent = {name.lower(): value for name, value in start["headers"]}
        kind = sent.get(b"content-type", b"application/json")
        self._events = kind.startswith(b"text/event-stream")
        headers = [(b"content-type", kind), *self._headers()]
        if last and not self._events:
            headers.append((b"content-length", b"%d" % len(self._rewriter.whole(body))))
        self._ticket.status = start["status"]
        self.started = True
        return {"type": "http.response.start", "status": start["status"], "headers": headers}

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
        *events, self._rest = (self._rest + body).split(_EVENT_END)
        if any(map(_is_error, events)):
            await self.break_off(GatewayError(Code.UPSTREAM_ERROR))
            return
        ending = last or any(event.startswith(_LAST_MARKS) for event in events)
        whole = b"".join(sent + _EVENT_END for event in events if (sent := self._rewriter.event(event)))
        if ending:
            await self._end_events(whole)
        elif whole:
            await self._pass(whole)

    async def _end_events(self, whole: bytes) -> None:
        """A stream is complete only if the engine's was: LiteLLM ends a broken one as if it were."""
        tap = self._ticket.tap
        if tap is None or not tap.complete:
            await self.break_off(GatewayError(Code.UPSTREAM_ERROR))
            return
        self._ticket.outcome = "completed"
        await self._end(whole)

    async def break_off(self, error: GatewayError) -> None:
        """End a stream that has begun: the error as its last event."""
        if self.complete or not self.started:
            return
        self._ticket.outcome = "timeout" if error.code == Code.UPSTREAM_TIMEOUT else "upstream_error"
        self._ticket.reason = error.code
        event = _DATA + b" " + error_body(error, anthropic=self._anthropic) + _EVENT_END
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
