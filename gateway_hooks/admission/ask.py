"""What is asked of admission: one request, its worst case, and whose limits it meets."""

import msgspec

from gateway_hooks.admission.periods import Period
from gateway_hooks.contract import keys
from gateway_hooks.contract.pricing import TOKENS_PER_PRICE_UNIT
from gateway_hooks.contract.snapshot import Limits

MAX_LEASE_MS = 600_000
EXACT_MICRO = 2**53 // TOKENS_PER_PRICE_UNIT
"""Lua's numbers are exact below 2**53: one request's price in millionths of a micro must stay below."""


class Scope(msgspec.Struct, frozen=True):
    """One bearer of limits: the tenant, an app, a key or token issuer, an end user."""

    name: str
    limits: Limits

    @property
    def counts_all(self) -> bool:
        """The tenant's use is shown and looked at even where it is not limited."""
        return self.name == keys.TENANT_SCOPE

    @property
    def is_user(self) -> bool:
        """An app can name any number of end users, so only what is limited is counted, and not for long."""
        return self.name.startswith(keys.USER_PREFIX)

    @property
    def keeps_tokens(self) -> bool:
        return self.counts_all or self.limits.tokens_per_minute is not None

    @property
    def keeps_window(self) -> bool:
        return self.keeps_tokens or self.limits.requests_per_minute is not None

    @property
    def keeps_kv(self) -> bool:
        return self.counts_all or self.limits.kv_bytes is not None

    @property
    def keeps_leases(self) -> bool:
        return self.keeps_kv or self.limits.concurrency is not None

    @property
    def keeps_day(self) -> bool:
        """Money is counted before it is limited, since a limit set late in a month is for the whole month."""
        return not self.is_user or self.limits.daily_spend_micro is not None

    @property
    def keeps_month(self) -> bool:
        return not self.is_user or self.limits.monthly_spend_micro is not None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request's worst case is ``max_output`` tokens for each of its ``choices``.

    With ``clamp`` less output is taken where only the worst case does not fit. ``input_micro`` (the dearer of
    cached and not) and ``output_micro`` are micro-currency per million tokens. ``at_ms`` is the gateway's
    clock, kept on the hold; what counts in windows is Redis' own. The lease ends by itself ``lease_ms`` after
    the admission or its last renewal. ``note`` is kept on the hold for whoever finds it.

    Raises ``ValueError`` for a price or a lease beyond what can be counted exactly.
    """

    request_id: str
    tenant_id: str
    at_ms: int
    day: Period
    month: Period
    prompt_tokens: int
    max_output: int
    input_micro: int
    output_micro: int
    scopes: tuple[Scope, ...]
    choices: int = 1
    clamp: bool = False
    kv_bytes_per_token: int | None = None
    lease_ms: int = 15_000
    note: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self._price(self.max_output) > EXACT_MICRO * TOKENS_PER_PRICE_UNIT:
            message = "the price of one request is beyond exact arithmetic"
            raise ValueError(message)
        if not 0 < self.lease_ms <= MAX_LEASE_MS:
            message = f"a lease lasts up to {MAX_LEASE_MS} ms"
            raise ValueError(message)

    @property
    def least_output(self) -> int:
        """Output per choice below which the request is refused."""
        return min(1, self.max_output) if self.clamp else self.max_output

    def tokens(self, output: int) -> int:
        """Prompt and ``output`` tokens of each choice."""
        return self.prompt_tokens + self.choices * output

    def micro(self, output: int) -> int:
        """Micro-currency to reserve, rounded up; equal to ``contract.pricing.worst_case_micro``."""
        return -(-self._price(output) // TOKENS_PER_PRICE_UNIT)

    def kv_bytes(self, output: int) -> int:
        """Projected KV cache; 0 where the model's bytes per token are not known."""
        return (self.kv_bytes_per_token or 0) * self.tokens(output)

    def _price(self, output: int) -> int:
        return self.input_micro * self.prompt_tokens + self.output_micro * self.choices * output
