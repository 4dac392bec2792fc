"""Which limit holds where: a tenant's override beats its tier; a key's limits hold in addition.

Pure: knows no database. Empty (None) means "not limited here".
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Protocol, TypeVar

from gateway_hooks.contract.snapshot import Limits

MICRO = 1_000_000
MIB = 1 << 20
Source = Literal["tenant", "tier", "none"]
_Number = TypeVar("_Number", int, Decimal)


class LimitValues(Protocol):
    """What tiers, tenants, apps, keys and issuers have in common."""

    @property
    def requests_per_minute(self) -> int | None: ...
    @property
    def tokens_per_minute(self) -> int | None: ...
    @property
    def concurrency(self) -> int | None: ...
    @property
    def kv_budget_mib(self) -> int | None: ...
    @property
    def context_tokens(self) -> int | None: ...
    @property
    def daily_spend_limit(self) -> Decimal | None: ...
    @property
    def monthly_spend_limit(self) -> Decimal | None: ...


@dataclass(frozen=True)
class Effective:
    """One limit as it is enforced for a tenant. ``tier_value`` is what its tier alone would give."""

    name: str
    value: int | Decimal | None
    source: Source
    tier_value: int | Decimal | None


NAMES = (
    *("requests_per_minute", "tokens_per_minute", "concurrency", "kv_budget_mib", "context_tokens"),
    *("daily_spend_limit", "monthly_spend_limit"),
)
MONEY = frozenset({"daily_spend_limit", "monthly_spend_limit"})


def effective_limits(tenant: LimitValues, tier: LimitValues) -> tuple[Effective, ...]:
    """The tenant's limits, in the order of ``NAMES``."""
    return tuple(_effective(name, getattr(tenant, name), getattr(tier, name)) for name in NAMES)


def _effective(name: str, own: int | Decimal | None, tier: int | Decimal | None) -> Effective:
    if own is not None:
        return Effective(name, own, "tenant", tier)
    return Effective(name, tier, "none" if tier is None else "tier", tier)


def tenant_limits(tenant: LimitValues, tier: LimitValues) -> Limits:
    """The same, as gateways read it; written out because it is done for every tenant at each publishing."""
    return _contract(
        tier.requests_per_minute if tenant.requests_per_minute is None else tenant.requests_per_minute,
        tier.tokens_per_minute if tenant.tokens_per_minute is None else tenant.tokens_per_minute,
        tier.concurrency if tenant.concurrency is None else tenant.concurrency,
        tier.kv_budget_mib if tenant.kv_budget_mib is None else tenant.kv_budget_mib,
        tier.context_tokens if tenant.context_tokens is None else tenant.context_tokens,
        tier.daily_spend_limit if tenant.daily_spend_limit is None else tenant.daily_spend_limit,
        tier.monthly_spend_limit if tenant.monthly_spend_limit is None else tenant.monthly_spend_limit,
    )


def own_limits(owner: LimitValues) -> Limits:
    """Those of an app, a key or an issuer; the tenant's hold for it as well."""
    return _contract(
        owner.requests_per_minute,
        owner.tokens_per_minute,
        owner.concurrency,
        owner.kv_budget_mib,
        owner.context_tokens,
        owner.daily_spend_limit,
        owner.monthly_spend_limit,
    )


def raised_to(usual: _Number | None, value: _Number | None) -> _Number | None:
    """What holds while a raise to ``value`` is in force: it never lowers, and no limit stays none."""
    return usual if usual is None or value is None else max(usual, value)


def one_limit(name: str, value: Decimal) -> Limits:
    """A single limit of ``NAMES``, as gateways read it."""
    values: dict[str, Any] = dict.fromkeys(NAMES)
    values[name] = value if name in MONEY else int(value)
    return _contract(*(values[each] for each in NAMES))


def _contract(
    requests: int | None,
    tokens: int | None,
    concurrency: int | None,
    kv_mib: int | None,
    context: int | None,
    daily: Decimal | None,
    monthly: Decimal | None,
) -> Limits:
    return Limits(
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        concurrency=concurrency,
        kv_bytes=None if kv_mib is None else kv_mib * MIB,
        context_tokens=context,
        daily_spend_micro=None if daily is None else to_micro(daily),
        monthly_spend_micro=None if monthly is None else to_micro(monthly),
    )


def to_micro(money: int | Decimal) -> int:
    """Exact, since amounts have at most six decimals; ``ValueError`` for more."""
    micro = money * MICRO
    if micro != int(micro):
        message = f"{money} has more than six decimals"
        raise ValueError(message)
    return int(micro)
