"""One request from its key to its ledger line, as steps to read from top to bottom."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Protocol

from django.urls import reverse

from portal.adapters.models import AdapterVersion
from portal.billing.models import LedgerEntry
from portal.core import wording
from portal.fleet.models import Pool
from portal.tenants.limit_figures import currency_now
from portal.tenants.models import ApiKey, TokenIssuer
from portal.usage.explain_exits import (
    identity_facts,
    output_facts,
    pii_words,
    queue_words,
    refusal_words,
    served_words,
)
from portal.usage.models import EngineUsage, GatewayUsage
from portal.usage.reasons import Reason, Remedy, reason

State = Literal["done", "bad", "open"]
OK_STATUS = 400
NS_PER_MS = 1_000_000


class User(Protocol):
    def has_perm(self, perm: str, /) -> bool: ...


@dataclass(frozen=True)
class Step:
    """``at`` is when, as text; ``facts`` are (label, value, exact) triples."""

    title: str
    icon: str
    at: str = ""
    text: str = ""
    state: State = "done"
    facts: list[tuple[str, str, str]] = field(default_factory=list)
    link: str = ""
    link_text: str = ""


@dataclass(frozen=True)
class Explanation:
    verdict: str
    state: State
    steps: list[Step]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that is known of one request."""

    gateway: GatewayUsage
    engine: EngineUsage | None
    entry: LedgerEntry | None
    key: ApiKey | None
    version: AdapterVersion | None
    pool: Pool | None
    issuer: TokenIssuer | None = None

    @property
    def payload(self) -> dict[str, Any]:
        return self.gateway.payload if isinstance(self.gateway.payload, dict) else {}


def facts_of(gateway: GatewayUsage) -> Facts:
    """Six queries at most."""
    payload = gateway.payload if isinstance(gateway.payload, dict) else {}
    version, pool = payload.get("adapter_version_id"), str(payload.get("pool_id") or "")
    return Facts(
        gateway=gateway,
        engine=_answering(gateway),
        entry=LedgerEntry.objects.select_related("rate__book", "period")
        .filter(request_id=gateway.request_id)
        .first(),
        key=ApiKey.objects.select_related("app__tenant").filter(pk=gateway.key_id).first()
        if gateway.key_id
        else None,
        version=AdapterVersion.objects.select_related("adapter__tenant").filter(pk=version).first()
        if version
        else None,
        pool=Pool.objects.filter(pk=int(pool)).first() if pool.isdigit() else None,
        issuer=TokenIssuer.objects.select_related("tenant", "app").filter(pk=gateway.issuer_id).first()
        if gateway.issuer_id
        else None,
    )


def _answering(gateway: GatewayUsage) -> EngineUsage | None:
    """What the engine did in the try that answered; of a gateway that was lost, in the last one known."""
    tries = EngineUsage.objects.filter(request_id=gateway.request_id).order_by("-attempt")
    if gateway.outcome != "gateway_lost":
        tries = tries.filter(attempt=max(gateway.attempts, 1))
    return tries.first()


def explain(facts: Facts, user: User) -> Explanation:
    """Only what ``user`` may see: money and engine steps need their own permissions."""
    money = user.has_perm("billing.view_ledgerentry")
    steps = [_identified(facts), _routed(facts), _admitted(facts, money=money)]
    if facts.payload.get("forwarded") or facts.engine:
        if user.has_perm("usage.view_engineusage"):
            steps.append(_engine(facts))
        steps.append(_answered(facts))
    if money:
        steps.append(_charged(facts))
    return Explanation(_verdict(facts), _state(facts), [step for step in steps if step])


def _verdict(facts: Facts) -> str:
    gateway = facts.gateway
    took = _ms(gateway.duration_us).text
    if gateway.outcome == "completed" and gateway.http_status < OK_STATUS:
        return f"Answered in {took}"
    if gateway.outcome == "disconnected":
        return f"The client hung up after {took}"
    why = reason(gateway.reason)
    kind = "Refused" if gateway.outcome == "rejected" else "Failed"
    return f"{kind} with {gateway.http_status}: {why.what[:1].lower()}{why.what[1:]}"


def _state(facts: Facts) -> State:
    return {"completed": "done", "disconnected": "open"}.get(facts.gateway.outcome, "bad")  # type: ignore[return-value]


_IDENTITY_CODES = {
    "missing_api_key",
    "invalid_api_key",
    "key_expired",
    "tenant_suspended",
    "config_unavailable",
    *("invalid_token", "token_expired", "token_not_yet_valid", "ip_not_allowed"),
}
_BODY_CODES = {
    *("not_found", "method_not_allowed", "model_not_found", "endpoint_not_supported", "body_too_large"),
    *("invalid_json", "unsupported_parameter", "invalid_parameter", "price_missing"),
    *("endpoint_not_allowed", "tool_not_allowed", "pii_blocked", "pii_failed", "pii_unmaskable"),
    *("body_timeout", "poison_request"),
}
_REMEDIES: dict[Remedy, tuple[str, str]] = {
    "limits": ("admin:tenants_tenant_limits", "Open the tenant's limits"),
    "tenant": ("admin:tenants_tenant_change", "Open the tenant"),
    "keys": ("admin:tenants_apikey_changelist", "Open API keys"),
    "aliases": ("admin:adapters_alias_changelist", "Open aliases"),
    "prices": ("admin:billing_pricebook_changelist", "Open price books"),
    "workers": ("admin:fleet_worker_changelist", "Open workers"),
    "gateways": ("admin:fleet_gatewayprocess_changelist", "Open gateways"),
}


def _stopped(title: str, icon: str, facts: Facts, *, text: str = "") -> Step:
    """The step at which the request ended, with the remedy."""
    why = reason(facts.gateway.reason)
    link, link_text = _remedy(why, facts)
    return Step(
        title,
        icon,
        state="bad",
        text=" ".join(part for part in (text, why.what, why.todo) if part),
        facts=[("reason", facts.gateway.reason, ""), ("status", str(facts.gateway.http_status), "")],
        link=link,
        link_text=link_text,
    )


def _remedy(why: Reason, facts: Facts) -> tuple[str, str]:
    if why.remedy == "none":
        return "", ""
    name, text = _REMEDIES[why.remedy]
    if not name.startswith("admin:tenants_tenant_"):
        return reverse(name), text
    return (reverse(name, args=[facts.gateway.tenant_id]), text) if facts.gateway.tenant_id else ("", "")


def _identified(facts: Facts) -> Step:
    gateway, key = facts.gateway, facts.key
    at = f"{gateway.ts.astimezone(UTC):%H:%M:%S}"
    if gateway.reason in _IDENTITY_CODES and gateway.outcome == "rejected":
        return _stopped("Not identified", "key_off", facts)
    seen = [
        ("gateway", str(facts.payload.get("gateway_id", "")), ""),
        ("configuration", f"version {facts.payload.get('snapshot_version', '?')}", ""),
        *identity_facts(gateway),
    ]
    if facts.issuer is not None:
        return Step(
            f"Identified as {facts.issuer.tenant.name}",
            "badge",
            at,
            text=f"By a token that {facts.issuer.name} signed.",
            facts=seen,
            link=reverse("admin:tenants_tokenissuer_change", args=[facts.issuer.pk]),
            link_text="Open the token issuer",
        )
    if key is None:
        what = "token issuer" if gateway.issuer_id else "key"
        return Step("Identified", "key", at, text=f"The {what} is no longer known.", facts=seen)
    return Step(
        f"Identified as {key.app.tenant.name}",
        "key",
        at,
        text=f"App {key.app.name}, by key {key}{f' ({key.name})' if key.name else ''}.",
        facts=seen,
        link=reverse("admin:tenants_tenant_change", args=[key.app.tenant_id]),
        link_text="Open the tenant",
    )


def _routed(facts: Facts) -> Step | None:
    gateway = facts.gateway
    if gateway.reason in _IDENTITY_CODES:
        return None
    if gateway.outcome == "rejected" and gateway.reason in _BODY_CODES:
        return _stopped(
            "Not taken", "block", facts, text=f"It asked for “{gateway.alias}”." if gateway.alias else ""
        )
    if not gateway.alias:
        return None
    model = str(facts.version) if facts.version else f"{facts.payload.get('base_model') or 'the base model'}"
    found = [("endpoint", gateway.endpoint, ""), ("streamed", "yes" if gateway.stream else "no", "")]
    if facts.pool:
        found.append(("pool", facts.pool.name, ""))
    if gateway.worker_id:
        found.append(("worker", gateway.worker_id, ""))
    return Step(
        f"Alias {gateway.alias} led to {model}",
        "alt_route",
        text=" ".join(
            part
            for part in (
                "" if facts.version else "No adapter: the shared base model answers.",
                served_words(gateway),
                pii_words(gateway.pii_counts),
            )
            if part
        ),
        facts=found,
    )


def _admitted(facts: Facts, *, money: bool) -> Step | None:
    gateway = facts.gateway
    if gateway.reason in _IDENTITY_CODES | _BODY_CODES:
        return None
    if gateway.outcome == "rejected":
        return _stopped("Not admitted", "block", facts, text=_refused(facts, money=money))
    tokens, micro = facts.payload.get("reserved_tokens") or 0, facts.payload.get("reserved_micro") or 0
    found = [("reserved", f"{tokens:,} tokens", "")]
    if money:
        held = f"{Decimal(micro).scaleb(-6):,.6f} {_currency(facts)}".rstrip()
        found.append(("held", held, "worst case, settled later"))
    return Step(
        "Admitted within all limits",
        "rule",
        text=" ".join(
            part
            for part in (
                "Reserved what it could use at most; settled to what it used.",
                queue_words(gateway),
            )
            if part
        ),
        facts=found + output_facts(gateway),
    )


def _refused(facts: Facts, *, money: bool) -> str:
    gateway = facts.gateway
    if gateway.reason == "budget_exhausted" and not money:
        return ""
    waited = "" if gateway.refused_limit is not None else queue_words(gateway)
    issuer = facts.issuer.name if facts.issuer else ""
    return refusal_words(gateway, currency_now(gateway.ts), issuer) or waited


def _currency(facts: Facts) -> str:
    return facts.entry.currency if facts.entry else ""


def _engine(facts: Facts) -> Step:
    engine = facts.engine
    if engine is None:
        return Step(
            "The engine's event is awaited",
            "hourglass_empty",
            state="open",
            text="It comes within seconds; if it never does, the gateway's counts are charged.",
        )
    payload = engine.payload if isinstance(engine.payload, dict) else {}
    gpu = engine.prefill_ns + engine.decode_ns
    return Step(
        f"Worked on by {engine.worker_id}",
        "memory",
        f"{engine.finished_at.astimezone(UTC):%H:%M:%S}",
        text={
            "stop": "The model finished its answer.",
            "length": "It stopped at the allowed output length.",
            "abort": "It was stopped before it was complete.",
            "error": "The engine failed.",
        }.get(engine.finish_reason, ""),
        state="done" if engine.finish_reason in {"stop", "length"} else "open",
        facts=[
            ("waited", _ns(engine.queue_ns).text, _ns(engine.queue_ns).exact),
            ("GPU time", _ns(gpu).text, f"{gpu:,} ns: its share of the steps it was in"),
            ("prefill", _ns(engine.prefill_ns).text, f"{engine.prefill_ns:,} ns"),
            ("decode", _ns(engine.decode_ns).text, f"{engine.decode_ns:,} ns"),
            ("prompt", f"{engine.prompt_tokens:,} tokens", f"{engine.cached_tokens:,} of them cached"),
            ("cached", f"{engine.cached_tokens:,} tokens", ""),
            ("output", f"{engine.completion_tokens:,} tokens", ""),
            ("preempted", f"{payload.get('preemptions', 0)} times", ""),
        ],
    )


def _answered(facts: Facts) -> Step:
    gateway = facts.gateway
    ended = gateway.ts.astimezone(UTC) + timedelta(microseconds=gateway.duration_us)
    at = f"{ended:%H:%M:%S}"
    found = [
        ("first token", _ms(gateway.ttft_us).text, _ms(gateway.ttft_us).exact),
        ("in all", _ms(gateway.duration_us).text, _ms(gateway.duration_us).exact),
        ("status", str(gateway.http_status), ""),
    ]
    if gateway.prompt_tokens is not None:
        prompt, output = gateway.prompt_tokens, gateway.completion_tokens or 0
        found.append(
            ("told the client", f"{prompt:,} + {output:,} tokens", "prompt + output, in its usage field")
        )
    if gateway.outcome in {"completed", "disconnected"}:
        hung_up = gateway.outcome == "disconnected"
        return Step(
            "The client hung up" if hung_up else "Answered",
            "link_off" if hung_up else "done_all",
            at,
            text="What the engine did until then is charged." if hung_up else "",
            state="open" if hung_up else "done",
            facts=found,
        )
    stopped = _stopped("Failed", "error", facts)
    return Step(stopped.title, stopped.icon, at, stopped.text, "bad", found, stopped.link, stopped.link_text)


def _charged(facts: Facts) -> Step | None:
    entry = facts.entry
    if entry is None:
        if facts.gateway.outcome == "rejected":
            return Step("Not charged", "money_off", text="Refused requests cost nothing.", state="open")
        return Step(
            "Not in the ledger yet", "hourglass_empty", text="Rating waits for both events.", state="open"
        )
    fresh = entry.prompt_tokens - entry.cached_tokens
    lines = [
        ("input", fresh, entry.input_amount, "input_price"),
        ("cached input", entry.cached_tokens, entry.cached_input_amount, "cached_input_price"),
        ("output", entry.completion_tokens, entry.output_amount, "output_price"),
    ]
    found = [
        (
            name,
            f"{tokens:,} tokens at {getattr(entry.rate, price):f} per 1M = {amount.normalize():f}",
            f"{entry.currency}",
        )
        for name, tokens, amount, price in lines
        if entry.rate is not None
    ]
    corrections = list(entry.corrections.order_by("pk"))
    found += [
        (
            "correction",
            f"{line.prompt_tokens + line.completion_tokens:+,} tokens = {line.amount.normalize():f}",
            f"{line.currency}, in period {line.period_id}",
        )
        for line in corrections
    ]
    total = entry.amount + sum((line.amount for line in corrections), Decimal(0))
    where = f"Period {entry.period_id}"
    book = f", price book {entry.rate.book.name}" if entry.rate else ": no price was found"
    return Step(
        f"Charged {total.normalize():f} {entry.currency}",
        "receipt_long",
        text=f"{where}{book}; counts from: {entry.get_source_display().lower()}.",
        facts=found,
        link=reverse("admin:billing_ledgerentry_change", args=[entry.pk]),
        link_text="Open the ledger entry",
    )


def _ms(microseconds: int | None) -> wording.Amount:
    if microseconds is None:
        return wording.Amount("not measured", "")
    return wording.Amount(wording.latency(microseconds).text, f"{microseconds:,} µs")


def _ns(nanoseconds: int) -> wording.Amount:
    if nanoseconds >= NS_PER_MS:
        return _ms(nanoseconds // 1000)
    return wording.Amount(f"{nanoseconds / 1000:,.0f} µs", f"{nanoseconds:,} ns")


def utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
