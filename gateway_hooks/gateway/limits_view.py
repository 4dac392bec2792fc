"""Admission's numbers as the headers that OpenAI's clients know."""

import math
from collections.abc import Callable, Iterator

from gateway_hooks.admission.ask import Ask
from gateway_hooks.admission.decision import NEVER, WINDOW_MS, Verdict
from gateway_hooks.contract.limits_view import Used
from gateway_hooks.contract.snapshot import Limits
from gateway_hooks.errors import Code, GatewayError

Header = tuple[bytes, bytes]


_TOO_LARGE = {
    "rate_limit_tokens": "This request alone needs more tokens than the limit per minute allows.",
    "kv_budget": "This request alone needs more of the model's memory than the budget allows.",
}
_PERIODS = {
    "day": "The spend limit of this day leaves no room for this request.",
    "month": "The spend limit of this month leaves no room for this request.",
}


def refusal_error(verdict: Verdict) -> GatewayError:
    """The error for a verdict with a refusal."""
    if verdict.refusal is None:
        message = "the verdict admits"
        raise ValueError(message)
    never = verdict.retry_after_ms == NEVER
    text = _TOO_LARGE.get(verdict.refusal) if never else None
    retry_after = None if never else max(verdict.retry_after_ms, 0) / 1000
    return GatewayError(Code(verdict.refusal), text or _PERIODS.get(verdict.period), retry_after=retry_after)


def rate_limit_headers(ask: Ask, verdict: Verdict) -> list[Header]:
    """Of each kind the scope with the least left; nothing where nothing is limited."""
    return [
        *_kind(
            b"requests", ask, verdict, lambda limits: limits.requests_per_minute, lambda used: used.requests
        ),
        *_kind(b"tokens", ask, verdict, lambda limits: limits.tokens_per_minute, lambda used: used.tokens),
    ]


def _kind(
    name: bytes,
    ask: Ask,
    verdict: Verdict,
    limit_of: Callable[[Limits], int | None],
    used_of: Callable[[Used], int],
) -> Iterator[Header]:
    left = [
        (max(limit - used_of(used), 0), limit)
        for scope, used in zip(ask.scopes, verdict.counters, strict=False)
        if (limit := limit_of(scope.limits)) is not None
    ]
    if not left:
        return
    remaining, limit = min(left)
    yield b"x-ratelimit-limit-" + name, b"%d" % limit
    yield b"x-ratelimit-remaining-" + name, b"%d" % remaining
    # The window is a sliding one: it is empty a whole length after the last request.
    yield b"x-ratelimit-reset-" + name, b"%ds" % (WINDOW_MS // 1000)


def retry_after_header(error: GatewayError) -> list[Header]:
    if error.retry_after is None:
        return []
    return [(b"retry-after", b"%d" % max(1, math.ceil(error.retry_after)))]
