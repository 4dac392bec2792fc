"""Sentences of the explain page about identity, configuration, queue, versions and refusals. Pure."""

from collections.abc import Mapping
from decimal import Decimal

from portal.core import wording
from portal.core.words import count
from portal.usage.models import GatewayUsage

Fact = tuple[str, str, str]
MIB = 1 << 20
_MICRO = Decimal(1_000_000)
_SCOPES = {"tenant": "the tenant", "app": "the app", "key": "the API key", "user": "the end user"}
_UNITS = {
    "rate_limit_requests": "requests",
    "rate_limit_tokens": "tokens",
    "concurrency": "requests",
    "context_cap": "tokens",
}
_PERIODS = {
    "rate_limit_requests": " in any 60 s",
    "rate_limit_tokens": " in any 60 s",
    "concurrency": " at once",
    "context_cap": " per request",
    "kv_budget": " at once",
}
_SERVED = {
    "pinned": "the pinned version",
    "stable": "the stable version",
    "canary": "the canary",
    "beta": "the beta version",
    "fallback": "the fallback version",
    "shadow": "the shadow version",
    "base": "the base model",
}


def scope_words(scope: str, issuer: str = "") -> str:
    """``issuer``: the name of the token issuer, where one stands in place of a key."""
    kind, _, one = scope.partition(".")
    if kind == "key" and one.startswith("jwt-"):
        return f"the token issuer {issuer or one.removeprefix('jwt-')}"
    name = _SCOPES.get(kind, scope)
    return f"{name} {one}" if kind == "key" and one else name


def refusal_words(request: GatewayUsage, currency: str, issuer: str = "") -> str:
    """Which limit refused it, and what would have let it through; empty where no limit did."""
    limit, used, asked = request.refused_limit, request.refused_used, request.refused_asked
    if limit is None:
        return ""
    whose = scope_words(request.refused_scope or "tenant", issuer)
    period = _PERIODS.get(request.reason, "")
    said = [f"The limit of {whose} is {_amount(request.reason, limit, currency)}{period}"]
    if used is not None:
        said.append(f"{_amount(request.reason, used, currency)} were used")
    if asked is not None:
        said.append(f"and this request asked for {_amount(request.reason, asked, currency)}")
    return ", ".join(said) + "." + _way_through(request, currency)


def _way_through(request: GatewayUsage, currency: str) -> str:
    limit, asked = request.refused_limit, request.refused_asked
    if limit is None or asked is None:
        return ""
    used = request.refused_used or 0
    needed = _amount(request.reason, used + asked, currency)
    left = max(0, limit - used)
    if request.reason in {"rate_limit_requests", "concurrency"} or not left:
        return f" A limit of {needed} would have let it through."
    return (
        f" A limit of {needed} would have let it through, or a request of at most "
        f"{_amount(request.reason, left, currency)}."
    )


def _amount(reason: str, value: int, currency: str) -> str:
    if reason == "budget_exhausted":
        return f"{value / _MICRO:,.6f} {currency}".rstrip()
    if reason == "kv_budget":
        return f"{Decimal(value) / MIB:,.1f} MiB"
    return f"{value:,} {_UNITS.get(reason, '')}".rstrip()


def identity_facts(request: GatewayUsage) -> list[Fact]:
    """Beside who it was: whether an end user was named, and the tenant's own configuration."""
    found: list[Fact] = [
        ("end user", "named" if request.end_user else "not named", "known by a keyed digest only")
    ]
    version = request.configuration_version
    found.append(("tenant's configuration", "none" if version is None else f"version {version}", ""))
    return found


def pii_words(counts: Mapping[str, int]) -> str:
    """How many values of which entity were masked; never what they were."""
    listed = ", ".join(f"{number:,} {entity}" for entity, number in sorted(counts.items()))
    return f"Masked before the model saw it: {listed}." if listed else ""


def queue_words(request: GatewayUsage) -> str:
    if request.queue_us is None:
        return ""
    if not request.queue_us:
        return "A seat was free at once."
    return f"It waited {wording.latency(request.queue_us).text} for a seat."


def output_facts(request: GatewayUsage) -> list[Fact]:
    found: list[Fact] = []
    if request.max_output_tokens is not None:
        cut = " (shortened to what its limits left)" if request.clamped else ""
        found.append(("output at most", f"{request.max_output_tokens:,} tokens{cut}", ""))
    if request.choices > 1:
        found.append(("answers", f"{request.choices}", "n"))
    return found


def served_words(request: GatewayUsage) -> str:
    """Which of the alias' versions answered, in how many attempts."""
    said = [f"Served by {_SERVED.get(request.served, request.served)}"] if request.served else []
    if request.attempts > 1:
        said.append(f"in {count(request.attempts, 'attempt')}")
    words = " ".join(said)
    if request.degraded:
        return f"{words or 'Served'}, marked as degraded: the others could not answer."
    return f"{words}." if words else ""
