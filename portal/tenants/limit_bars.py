"""Limits as bars: what is used now beside what is allowed, in words. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway_hooks.contract.limits_view import Used
from portal.tenants.limits import MIB, MICRO, MONEY, NAMES, LimitValues, effective_limits

MUCH, ALL = 80, 100
Value = int | Decimal


@dataclass(frozen=True)
class Kind:
    """``used``: from the counters, in the unit of the limit; None for what is of one request."""

    label: str
    period: str
    unit: str
    used: Callable[[Used], Value] | None


KINDS: Mapping[str, Kind] = {
    "requests_per_minute": Kind("Requests", "in the last 60 s", "requests", lambda used: used.requests),
    "tokens_per_minute": Kind(
        "Tokens", "reserved or used in the last 60 s", "tokens", lambda used: used.tokens
    ),
    "concurrency": Kind("Requests at once", "running now", "requests", lambda used: used.concurrent),
    "kv_budget_mib": Kind("KV cache", "projected for what runs now", "MiB", lambda used: _mib(used.kv_bytes)),
    "context_tokens": Kind("Tokens per request", "prompt and output together", "tokens", None),
    "daily_spend_limit": Kind(
        "Spend today", "settled and reserved", "", lambda used: Decimal(used.daily_micro) / MICRO
    ),
    "monthly_spend_limit": Kind(
        "Spend this month", "settled and reserved", "", lambda used: Decimal(used.monthly_micro) / MICRO
    ),
}


@dataclass(frozen=True, kw_only=True)
class Raised:
    """A temporary raise in force."""

    value: Decimal
    until: datetime


@dataclass(frozen=True, kw_only=True)
class LastRefusal:
    at: datetime
    link: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """``used`` is None where it is not known; ``share`` where there is nothing to fill."""

    name: str
    label: str
    period: str
    used: str | None
    limit: str | None
    share: int | None
    source: str
    refused: LastRefusal | None = None

    @property
    def level(self) -> str:
        if self.share is None or self.share < MUCH:
            return ""
        return "full" if self.share >= ALL else "much"

    @property
    def width(self) -> int:
        return min(ALL, self.share or 0)


def tenant_bars(
    tenant: LimitValues,
    tier: LimitValues,
    used: Used | None,
    *,
    raises: Mapping[str, Raised],
    refused: Mapping[str, LastRefusal],
    currency: str,
    tier_name: str,
    money: bool,
) -> list[Bar]:
    """All kinds of limits of a tenant; without ``money`` no spending is shown."""
    sources = {
        "tenant": "set for this tenant",
        "tier": f"from tier {tier_name}",
        "none": f"neither here nor in tier {tier_name}",
    }
    bars = []
    for one in effective_limits(tenant, tier):
        if one.name in MONEY and not money:
            continue
        raised = raises.get(one.name)
        value, source = one.value, sources[one.source]
        if raised is not None and value is not None and raised.value > value:
            source = f"raised until {raised.until:%d %b %H:%M} UTC, usually {text(one.name, value, currency)}"
            value = raised.value
        bars.append(_bar(one.name, value, used, source, currency, refused.get(one.name)))
    return bars


def own_bars(owner: LimitValues, used: Used | None, *, currency: str, money: bool) -> list[Bar]:
    """Only the limits that an app or key has of its own."""
    names: Iterable[str] = (name for name in NAMES if getattr(owner, name) is not None)
    return [
        _bar(name, getattr(owner, name), used, "", currency, None)
        for name in names
        if money or name not in MONEY
    ]


def text(name: str, value: Value, currency: str) -> str:
    """With its unit: ``12,000 tokens``, ``5.00 USD``."""
    if name in MONEY:
        return f"{Decimal(value):,.2f} {currency}"
    unit = KINDS[name].unit
    number = f"{value:,.1f}" if isinstance(value, Decimal) and value != int(value) else f"{int(value):,}"
    return f"{number} {unit}"


def _bar(
    name: str, limit: Value | None, used: Used | None, source: str, currency: str, refused: LastRefusal | None
) -> Bar:
    kind = KINDS[name]
    amount = kind.used(used) if kind.used and used is not None else None
    return Bar(
        name=name,
        label=kind.label,
        period=kind.period,
        used=None if amount is None else _used(name, amount, currency, bare=limit is not None),
        limit=None if limit is None else text(name, limit, currency),
        share=_share(amount, limit),
        source=source,
        refused=refused,
    )


def _used(name: str, amount: Value, currency: str, *, bare: bool) -> str:
    """``bare``: without the unit, which the limit behind it says."""
    words = text(name, amount, currency)
    return words.partition(" ")[0] if bare else words


def _share(used: Value | None, limit: Value | None) -> int | None:
    """Percent, rounded down: all of it is only what is all of it."""
    if used is None or limit is None:
        return None
    return int(100 * Decimal(used) / Decimal(limit)) if limit else ALL


def _mib(value: int) -> Decimal:
    return (Decimal(value) / MIB).quantize(Decimal("0.1"))
