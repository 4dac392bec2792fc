"""How many tokens a prompt has, before it is admitted: exactly where we can, an upper bound where not.

Exact: chat without tools, completions, embeddings. With a margin (``dialects``): tools, tool calls, what
is translated on its way (responses, messages), and templates that tell the time. By its bytes
(``prompt_bound``): a pool without a tokenizer here, a conversation that the template refuses (the engine
will, too), and for an hour from each time that an engine reported more than was counted.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway_hooks.contract.snapshot import Pool
from gateway_hooks.gateway.body.bound import prompt_bound
from gateway_hooks.tokens.dialects import conversation_of
from gateway_hooks.tokens.errors import TokensError
from gateway_hooks.tokens.model import ModelTokenizer
from gateway_hooks.tokens.store import TokenizerStore

log = logging.getLogger("tenantry.gateway.tokens")

INLINE_BYTES = 8 * 1024
"""Less is counted on the event loop, where it costs less than the way to a thread and back."""
_TEXTS = {"completions": "prompt", "embeddings": "input"}


class _Count(NamedTuple):
    tokens: int
    margin: int = 0


MAX_EXTRA = 1024
"""More is no matter of a template, and would keep out tenants that did nothing."""
CAREFUL_SECONDS = 3600.0


class _Care(NamedTuple):
    """``extra`` tokens on top of the bytes, since a moment (monotonic)."""

    extra: int
    since: float


class TokenCounter:
    """``undercounts``: by pool, how often an engine reported more than was counted."""

    def __init__(self, store: TokenizerStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._careful: dict[tuple[str, str], _Care] = {}
        self.undercounts: Counter[str] = Counter()

    async def count(self, pool: Pool, endpoint_name: str, fields: dict[str, Any]) -> int:
        """Tokens of a checked body's prompt; for any ``n`` the prompt counts once.

        More than ``pool.max_model_len`` only where the prompt itself is longer.
        """
        bound = prompt_bound(fields)
        counted = await self._counted(pool, endpoint_name, fields, bound=bound)
        extra = self._extra((pool.id, endpoint_name))
        upper = bound if counted is None else counted.tokens + counted.margin
        if extra is not None:
            upper = max(bound, upper) + extra
        return max(counted.tokens if counted else 0, min(upper, pool.max_model_len))

    def observed(
        self, pool_id: str, endpoint_name: str, *, counted: int, reported: int, counted_at: float
    ) -> None:
        """What the engine said in ``usage`` of a prompt counted at ``counted_at`` (monotonic).

        If ever that is more, this endpoint of the pool is counted by its bytes for a while. Of requests that
        were counted before the last correction nothing new is learnt.
        """
        if reported <= counted:
            return
        self.undercounts[pool_id] += 1
        key, now = (pool_id, endpoint_name), self._clock()
        known = self._careful.get(key)
        if known is not None and counted_at <= known.since:
            return
        if known is None:
            log.warning("pool %s: the engine counts longer %s than we do; bytes count now", *key)
        extra = (self._extra(key) or 0) + reported - counted
        self._careful[key] = _Care(min(extra, MAX_EXTRA), now)

    def _extra(self, key: tuple[str, str]) -> int | None:
        care = self._careful.get(key)
        return None if care is None or self._clock() - care.since > CAREFUL_SECONDS else care.extra

    async def _counted(
        self, pool: Pool, endpoint_name: str, fields: dict[str, Any], *, bound: int
    ) -> _Count | None:
        tokenizer = self._store.get(pool.id)
        if tokenizer is None:
            return None
        try:
            if bound < INLINE_BYTES:
                return _count(tokenizer, endpoint_name, fields, limit=pool.max_model_len)
            return await asyncio.to_thread(_count, tokenizer, endpoint_name, fields, limit=pool.max_model_len)
        except TokensError:
            return None


def _count(tokenizer: ModelTokenizer, endpoint_name: str, fields: dict[str, Any], *, limit: int) -> _Count:
    name = _TEXTS.get(endpoint_name)
    if name is None:
        conversation = conversation_of(endpoint_name, fields)
        # vLLM leaves what begins a text to the template, except for responses.
        special = endpoint_name == "responses"
        return _Count(*tokenizer.conversation_tokens(conversation, special=special, limit=limit))
    text = fields[name]
    if not isinstance(text, str):
        return _Count(len(text))
    return _Count(tokenizer.text_tokens(text, special=True, limit=limit))
