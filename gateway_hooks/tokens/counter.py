"""How many tokens a prompt has, before it is admitted: exactly where we can, an upper bound where not.

Exact: chat without tools, completions, embeddings. With a margin (``dialects``): tools, tool calls, what
is translated on its way (responses, messages), and templates that tell the time. By its bytes
(``prompt_bound``): a pool without a tokenizer here, a conversation that the template refuses (the engine
will, too), and from the first time on that an engine reported more than was counted.
"""

import asyncio
import logging
from collections import Counter
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


class TokenCounter:
    """``undercounts``: by pool, how often an engine reported more than was counted."""

    def __init__(self, store: TokenizerStore) -> None:
        self._store = store
        self._extra: dict[str, int] = {}
        self.undercounts: Counter[str] = Counter()

    async def count(self, pool: Pool, endpoint_name: str, fields: dict[str, Any]) -> int:
        """Tokens of a checked body's prompt; for any ``n`` the prompt counts once.

        More than ``pool.max_model_len`` only where the prompt itself is longer.
        """
        bound = prompt_bound(fields)
        counted = await self._counted(pool, endpoint_name, fields, bound=bound)
        extra = self._extra.get(pool.id)
        upper = bound if counted is None else counted.tokens + counted.margin
        if extra is not None:
            upper = max(bound, upper) + extra
        return max(counted.tokens if counted else 0, min(upper, pool.max_model_len))

    def observed(self, pool_id: str, counted: int, reported: int) -> None:
        """What the engine said in ``usage``. If ever that is more, the pool is counted by its bytes."""
        if reported <= counted:
            return
        if pool_id not in self._extra:
            log.warning("pool %s: the engine counts longer prompts than we do; its bytes count now", pool_id)
        self.undercounts[pool_id] += 1
        self._extra[pool_id] = self._extra.get(pool_id, 0) + reported - counted

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
