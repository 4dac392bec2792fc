"""Every metric by name, with its labels. No label holds a key, a prompt or anything that a client chose."""

from prometheus_client import Counter, Gauge, Histogram

from gateway_hooks.metrics.files import PREFIX

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


def _counter(name: str, help_text: str, *labels: str) -> Counter:
    return Counter(f"{PREFIX}_{name}", help_text, labels, registry=None)


def _histogram(name: str, help_text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
    return Histogram(f"{PREFIX}_{name}", help_text, labels, registry=None, buckets=buckets)


def _gauge(name: str, help_text: str, *labels: str, over: str) -> Gauge:
    """``over``: how the living processes' values make one: ``livesum``, ``livemin`` or ``livemax``."""
    return Gauge(f"{PREFIX}_{name}", help_text, labels, registry=None, multiprocess_mode=over)  # type: ignore[arg-type]


class Instruments:
    """Made after ``ValueFiles``, so that the values lie in its folder."""

    def __init__(self) -> None:
        self.requests = _counter("requests", "Ended requests", "tenant", "endpoint", "outcome", "reason")
        self.refusals = _counter("refusals", "Requests refused before a worker", "tenant", "reason")
        self.duration = _histogram(
            "request_duration_seconds", "From the first byte in to the end", "endpoint"
        )
        self.first_byte = _histogram("time_to_first_byte_seconds", "Until the answer began", "endpoint")
        self.queue_wait = _histogram("queue_wait_seconds", "Wait for a seat", "pool")
        self.tokens = _counter("tokens", "Tokens as the engine reported them", "tenant", "kind")
        self.pii = _counter("pii_values", "Values that a PII policy acted on", "tenant", "entity")
        self.outage = _counter("outage_admitted", "Requests served uncounted while Redis was away", "tenant")
        self.retries = _counter("retries", "Further workers asked for a request")
        self.degraded = _counter("degraded", "Requests served by a fallback version", "tenant")
        self.undercounts = _counter("prompt_undercount", "Prompts longer than they were counted", "pool")
        self.redis_failures = _counter("redis_failures", "Times that Redis could not be asked")
        self.redis_up = _gauge("redis_up", "Whether every process reaches Redis", over="livemin")
        self.snapshot_version = _gauge("snapshot_version", "The oldest snapshot in force", over="livemin")
        self.snapshot_age = _gauge("snapshot_age_seconds", "Since a snapshot was loaded", over="livemax")
        self.spooled = _gauge("spooled_events", "Events that wait on disk for Redis", over="livesum")
        self.in_flight = _gauge("in_flight", "Requests at workers", "pool", over="livesum")
        self.waiting = _gauge("waiting", "Requests that wait for a seat", "pool", over="livesum")
        self.breaker_open = _gauge(
            "breaker_open", "Not asked for a while", "worker", "adapter", over="livemax"
        )
        self.lag = _histogram("event_loop_lag_seconds", "How late the event loop is", buckets=_LAG_SECONDS)
