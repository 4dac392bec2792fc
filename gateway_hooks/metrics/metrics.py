"""One call per request, one per look around, one to render."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import Gauge

from gateway_hooks.contract.usage import GatewayEvent
from gateway_hooks.metrics.files import ValueFiles
from gateway_hooks.metrics.instruments import Instruments

UNKNOWN_TENANT = "unknown"
SHADOW_TENANT = "shadow"
"""Shadow copies are nobody's requests."""
NO_REASON = "none"
_MICRO = 1e-6
_DIGEST_CHARACTERS = 12


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a process sees of itself at one moment. ``in_flight`` and ``waiting`` are by pool.

    ``redis_failures`` and ``undercounts`` (by pool) are totals since the process started.
    ``open_breakers`` are (worker id, adapter digest or "").
    """

    redis_up: bool
    redis_failures: int
    snapshot_version: int
    snapshot_age_seconds: float
    spooled_events: int
    in_flight: Mapping[str, int] = {}
    waiting: Mapping[str, int] = {}
    undercounts: Mapping[str, int] = {}
    open_breakers: frozenset[tuple[str, str]] = frozenset()


class Metrics:
    """One per process. ``folder`` is shared by the gateway processes of a host."""

    def __init__(self, folder: Path, *, process_id: str) -> None:
        self._files = ValueFiles(folder, process_id=process_id)
        self._instruments = Instruments()
        self._children: dict[tuple[Any, ...], Any] = {}
        self._redis_failures = 0
        self._undercounts: dict[str, int] = {}

    def observe_event(self, event: GatewayEvent, tenant_slug: str | None) -> None:
        """At a request's end. ``tenant_slug`` is the snapshot's, None for callers that it does not know."""
        made = self._instruments
        tenant = tenant_slug or UNKNOWN_TENANT
        if event.shadow_of is not None:
            tenant = SHADOW_TENANT
        reason = event.reason or NO_REASON
        self._child(made.requests, tenant, event.endpoint, event.outcome, reason).inc()
        self._child(made.duration, event.endpoint).observe(event.duration_us * _MICRO)
        if event.outcome == "rejected":
            self._child(made.refusals, tenant, reason).inc()
        if event.ttft_us is not None:
            self._child(made.first_byte, event.endpoint).observe(event.ttft_us * _MICRO)
        if event.queue_us is not None:
            self._child(made.queue_wait, event.pool_id or NO_REASON).observe(event.queue_us * _MICRO)
        if event.prompt_tokens is not None:
            self._tokens(tenant, event)
        for entity, count in event.pii_counts.items():
            self._child(made.pii, tenant, entity).inc(count)
        if event.degraded:
            self._child(made.degraded, tenant).inc()
        if event.attempts > 1:
            made.retries.inc(event.attempts - 1)

    def outage_admitted(self, tenant_slug: str) -> None:
        """Served without being counted, since Redis is away."""
        self._child(self._instruments.outage, tenant_slug).inc()

    def observe_state(self, state: State) -> None:
        """Every second or so."""
        made = self._instruments
        made.redis_up.set(state.redis_up)
        made.snapshot_version.set(state.snapshot_version)
        made.snapshot_age.set(state.snapshot_age_seconds)
        made.spooled.set(state.spooled_events)
        self._by_label(made.in_flight, {(pool,): count for pool, count in state.in_flight.items()})
        self._by_label(made.waiting, {(pool,): count for pool, count in state.waiting.items()})
        breakers: dict[tuple[str, ...], int] = {
            (worker, digest[:_DIGEST_CHARACTERS]): 1 for worker, digest in state.open_breakers
        }
        self._by_label(made.breaker_open, breakers)
        made.redis_failures.inc(max(0, state.redis_failures - self._redis_failures))
        self._redis_failures = state.redis_failures
        for pool, total in state.undercounts.items():
            self._child(made.undercounts, pool).inc(max(0, total - self._undercounts.get(pool, 0)))
        self._undercounts = dict(state.undercounts)

    def observe_lag(self, seconds: float) -> None:
        self._instruments.lag.observe(max(0.0, seconds))

    def render(self) -> bytes:
        """Prometheus' text format over all processes. Reads files: not for the event loop."""
        return self._files.render()

    def close(self) -> None:
        self._files.close()

    def _tokens(self, tenant: str, event: GatewayEvent) -> None:
        """Cached tokens are not among the prompt's: the kinds add up."""
        cached = event.cached_tokens or 0
        kinds = {
            "prompt": (event.prompt_tokens or 0) - cached,
            "cached": cached,
            "completion": event.completion_tokens or 0,
        }
        for kind, count in kinds.items():
            if count > 0:
                self._child(self._instruments.tokens, tenant, kind).inc(count)

    def _by_label(self, gauge: Gauge, now: Mapping[tuple[str, ...], int]) -> None:
        """What is gone is zero: a value in a file cannot be taken out."""
        before = [key[1:] for key in self._children if key[0] is gauge]
        for labels in {*before, *now}:
            self._child(gauge, *labels).set(now.get(labels, 0))

    def _child(self, metric: Any, *labels: str) -> Any:
        """prometheus_client finds a child under a lock; a dictionary is three times as fast."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child
