"""Start and end: our services around LiteLLM's own start-up."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway_hooks.gateway.inner import App
from gateway_hooks.gateway.reading import Message, Receive, Scope, Send
from gateway_hooks.gateway.services import Services
from gateway_hooks.gateway.wrapper import Wrapper


class Application:
    """The ASGI application that uvicorn runs: its services live in the loop that starts it.

    ``inner_started`` is awaited once LiteLLM has started, before the first request is accepted.
    """

    def __init__(
        self,
        inner: App,
        make_services: Callable[[], Services],
        *,
        inner_started: Callable[[App], Awaitable[None]],
    ) -> None:
        self._inner = inner
        self._inner_started = inner_started
        self._make_services = make_services
        self._services: Services | None = None
        self._wrapper: Wrapper | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self._wrapper is not None:
            await self._wrapper(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def start_first() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._services = self._make_services()
                await self._services.start()
                self._wrapper = Wrapper(self._inner, self._services)
            elif self._wrapper is not None:
                # Before LiteLLM closes its clients.
                await self._wrapper.drain()
            return message

        async def started(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._inner_started(self._inner)
            elif message["type"] == "lifespan.shutdown.complete":
                # uvicorn ends the loop as soon as it has heard this.
                await self._end()
            await send(message)

        try:
            await self._inner(scope, start_first, started)
        finally:
            await asyncio.shield(self._end())

    async def _end(self) -> None:
        """The first call does it."""
        services, self._services = self._services, None
        if self._wrapper is not None:
            await self._wrapper.drain()
        if services is not None:
            await services.stop()
