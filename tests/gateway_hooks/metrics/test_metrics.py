"""What one process counts of its events and of itself."""

import time
from statistics import median

import msgspec
import pytest
from prometheus_client import Counter

from gateway_hooks.metrics.metrics import Metrics, State
from tests.gateway_hooks.metrics.conftest import Read
from tests.gateway_hooks.metrics.events import event

STATE = State(
    redis_up=True,
    redis_failures=2,
    snapshot_version=7,
    snapshot_age_seconds=1.5,
    spooled_events=3,
    in_flight={"pool-1": 4},
    waiting={"pool-1": 5},
    undercounts={"pool-1": 1},
    open_breakers=frozenset({("worker-1", "a" * 64)}),
)


def test_an_ended_request_is_counted_with_its_times_and_tokens(metrics: Metrics, read: Read):
    served = event(
        prompt_tokens=10, cached_tokens=4, completion_tokens=6, ttft_us=30_000, queue_us=0, attempts=3
    )

    metrics.observe_event(served, "acme")

    labels = {"tenant": "acme", "endpoint": "chat.completions", "outcome": "completed", "reason": "none"}
    assert read("requests_total", **labels) == 1
    assert read("request_duration_seconds_sum", endpoint="chat.completions") == pytest.approx(0.02)
    assert read("time_to_first_byte_seconds_bucket", endpoint="chat.completions", le="0.025") == 0
    assert read("time_to_first_byte_seconds_bucket", endpoint="chat.completions", le="0.05") == 1
    assert read("queue_wait_seconds_count", pool="pool-1") == 1
    kinds = {
        kind: read("tokens_total", tenant="acme", kind=kind) for kind in ("prompt", "cached", "completion")
    }
    assert kinds == {"prompt": 6, "cached": 4, "completion": 6}
    assert read("retries_total") == 2
    assert read("refusals_total", tenant="acme", reason="none") is None


def test_a_refusal_is_counted_by_its_reason(metrics: Metrics, read: Read):
    metrics.observe_event(event(outcome="rejected", reason="rate_limit_tokens", http_status=429), "acme")

    assert read("refusals_total", tenant="acme", reason="rate_limit_tokens") == 1
    assert read("queue_wait_seconds_count", pool="pool-1") is None


def test_a_caller_that_nobody_knows_is_unknown(metrics: Metrics, read: Read):
    metrics.observe_event(event(outcome="rejected", reason="invalid_api_key", pool_id=None), None)

    assert read("refusals_total", tenant="unknown", reason="invalid_api_key") == 1


def test_a_shadow_copy_is_no_tenants_request(metrics: Metrics, read: Read):
    metrics.observe_event(event(shadow_of="r-0", prompt_tokens=5), "acme")

    assert read("tokens_total", tenant="shadow", kind="prompt") == 5
    assert read("tokens_total", tenant="acme", kind="prompt") is None


def test_masked_values_fallbacks_and_outages_are_counted_by_tenant(metrics: Metrics, read: Read):
    metrics.observe_event(event(pii_counts={"EMAIL": 2, "IBAN": 1}, degraded=True), "acme")
    metrics.outage_admitted("acme")

    assert read("pii_values_total", tenant="acme", entity="EMAIL") == 2
    assert read("pii_values_total", tenant="acme", entity="IBAN") == 1
    assert read("degraded_total", tenant="acme") == 1
    assert read("outage_admitted_total", tenant="acme") == 1


def test_the_state_is_shown_and_totals_count_once(metrics: Metrics, read: Read):
    metrics.observe_state(STATE)
    metrics.observe_state(msgspec.structs.replace(STATE, redis_failures=5, redis_up=False))

    assert read("redis_up") == 0
    assert read("redis_failures_total") == 5
    assert read("prompt_undercount_total", pool="pool-1") == 1
    assert (read("snapshot_version"), read("snapshot_age_seconds"), read("spooled_events")) == (7, 1.5, 3)
    assert (read("in_flight", pool="pool-1"), read("waiting", pool="pool-1")) == (4, 5)
    assert read("breaker_open", worker="worker-1", adapter="a" * 12) == 1


def test_what_is_over_is_zero(metrics: Metrics, read: Read):
    metrics.observe_state(STATE)
    metrics.observe_state(msgspec.structs.replace(STATE, in_flight={}, open_breakers=frozenset()))

    assert read("in_flight", pool="pool-1") == 0
    assert read("breaker_open", worker="worker-1", adapter="a" * 12) == 0


def test_a_late_event_loop_shows(metrics: Metrics, read: Read):
    metrics.observe_lag(0.02)
    metrics.observe_lag(-0.001)

    assert read("event_loop_lag_seconds_bucket", le="0.001") == 1
    assert read("event_loop_lag_seconds_count") == 2


def test_what_a_library_counts_is_not_shown(metrics: Metrics):
    Counter("litellm_requests", "not ours", ["key"], registry=None).labels("sk-canary").inc()

    assert b"canary" not in metrics.render()


def test_an_end_costs_microseconds(metrics: Metrics):
    served = event(prompt_tokens=10, cached_tokens=4, completion_tokens=6, ttft_us=1, queue_us=1)
    costs = []

    for _ in range(2000):
        begun = time.perf_counter()
        metrics.observe_event(served, "acme")
        costs.append(time.perf_counter() - begun)

    assert median(costs) < 100e-6  # 10 µs where nothing else runs
