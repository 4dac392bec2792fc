"""A request that was tried more than once pays for the try that answered, whatever comes when."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from gateway_hooks.contract import keys
from gateway_hooks.contract.usage import EngineEvent, GatewayEvent, UsageEvent, gateway_event_id
from portal.billing.closing import close_period
from portal.billing.costing import write_cost_lines
from portal.billing.models import BillingPeriod, CostLine, LedgerEntry
from portal.billing.services import rate_requests
from portal.core.redis import client as portal_redis
from portal.tenants.models import Tenant
from portal.usage.models import EngineUsage, GatewayUsage, ParkedEvent, PendingRequest
from portal.usage.selectors import tenant_usage
from portal.usage.services import ingest
from tests.portal.billing.books import (
    NOW,
    START,
    engine_event,
    gateway_event,
    hold,
    interval,
    make_book,
    make_pool,
    make_tenant,
    send,
)

LATER = NOW + timedelta(minutes=3)
MUCH_LATER = NOW + timedelta(hours=2)
NO_TOKENS = {"prompt_tokens": None, "cached_tokens": None, "completion_tokens": None}


@pytest.fixture
def tenant(db: None) -> Tenant:  # noqa: ARG001
    make_book(("1.00", "0.10", "3.333333"))
    return make_tenant(make_pool())


def tried(tenant: Tenant, attempt: int, completion: int, **fields: Any) -> EngineEvent:
    """Each try at a worker of its own, with a GPU time of its own."""
    given = {
        "event_id": f"e-r1-{attempt}",
        "attempt": attempt,
        "worker_id": f"worker-{attempt}",
        "completion_tokens": completion,
        "decode_ns": 1_000 * completion,
        "prefill_ns": 0,
    }
    return engine_event(tenant, "r1", **(given | fields))


def answered(tenant: Tenant, attempt: int, **fields: Any) -> GatewayEvent:
    return gateway_event(tenant, "r1", **({"attempts": attempt, "worker_id": f"worker-{attempt}"} | fields))


def booked() -> tuple[int, dict[str, int]]:
    """(output tokens, GPU time by worker) of all lines."""
    lines = LedgerEntry.objects.order_by().values_list("worker_id").annotate(Sum("gpu_ns"))
    tokens = LedgerEntry.objects.aggregate(all=Sum("completion_tokens", default=0))["all"]
    return tokens, {worker: ns for worker, ns in lines if ns}


def test_both_tries_are_kept_and_the_one_that_answered_is_charged(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, tried(tenant, 1, 900), tried(tenant, 2, 20), answered(tenant, 2))
    ingest(NOW)

    rate_requests(NOW)

    assert (EngineUsage.objects.count(), ParkedEvent.objects.count()) == (2, 0)
    assert LedgerEntry.objects.get().source == "matched"
    assert booked() == (20, {"worker-2": 20_000})
    assert not PendingRequest.objects.exists()


def test_a_second_event_about_the_same_try_is_parked(tenant: Tenant, redis_client: "redis.Redis") -> None:
    send(redis_client, tried(tenant, 2, 20), tried(tenant, 2, 30, event_id="other"), tried(tenant, 64, 1))

    ingest(NOW)

    codes = ParkedEvent.objects.values_list("code", flat=True)
    assert sorted(codes) == ["usage_event_inconsistent", "usage_event_second"]
    assert EngineUsage.objects.count() == 1


def test_an_abandoned_try_alone_completes_no_request_and_is_not_charged(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    hold(redis_client, tenant, "r1", 9999)
    send(redis_client, tried(tenant, 1, 900), answered(tenant, 2, outcome="disconnected", **NO_TOKENS))
    ingest(NOW)

    early, late = rate_requests(LATER), rate_requests(MUCH_LATER)

    assert (early.entries, early.settled, late.entries, late.settled) == (0, 0, 1, 1)
    assert booked() == (0, {})
    assert int(redis_client.get(keys.spend(str(tenant.pk), "tenant", "2026-11")) or 0) == 0


def test_what_the_gateway_counted_is_charged_if_the_answering_tries_event_never_comes(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, tried(tenant, 1, 900), answered(tenant, 2))
    ingest(NOW)

    early, late = rate_requests(NOW), rate_requests(LATER)

    assert (early.entries, late.entries) == (0, 1)
    assert LedgerEntry.objects.get().source == "gateway_only"
    assert booked() == (20, {})


def test_a_gateway_that_tells_late_moves_the_charge_to_the_try_that_answered(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, tried(tenant, 1, 900))
    ingest(NOW)
    rate_requests(LATER)
    assert booked() == (900, {"worker-1": 900_000})
    send(redis_client, answered(tenant, 2))
    ingest(LATER)

    rate_requests(MUCH_LATER)

    assert booked() == (20, {})
    total = sum((line.amount for line in LedgerEntry.objects.all()), Decimal(0))
    assert total == Decimal("0.00013066666")


def test_a_try_that_ran_though_no_gateway_paid_for_it_is_taken_back(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, tried(tenant, 1, 900))
    ingest(NOW)
    rate_requests(LATER)
    send(redis_client, answered(tenant, 3, outcome="upstream_error", forwarded=False, **NO_TOKENS))
    ingest(LATER)

    rate_requests(LATER)

    assert booked() == (0, {})
    assert sum((line.amount for line in LedgerEntry.objects.all()), Decimal(0)) == 0


def test_the_time_of_an_abandoned_try_and_of_a_copy_is_the_platforms(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    work = {"worker_id": "worker-1", "decode_ns": 10**10, "prefill_ns": 0}
    send(
        redis_client,
        *(tried(tenant, 1, 900, **work), tried(tenant, 2, 20, **work), answered(tenant, 2)),
        engine_event(tenant, "copy", shadow=True, **work),
        gateway_event(tenant, "copy", shadow_of="r1"),
        interval(tenant.pool, START, 100, busy_ns=3 * 10**10),
    )
    ingest(NOW)
    rate_requests(NOW)

    bills = write_cost_lines(BillingPeriod.objects.get())

    lines = {(line.kind, line.tenant_id): line.ns for line in CostLine.objects.all()}
    assert lines["busy", tenant.pk] == 10**10
    assert lines["residual", None] == 2 * 10**10
    assert sum(bill.cents for bill in bills.values()) == 10
    usage = tenant_usage(tenant, START, MUCH_LATER)
    assert (usage.requests, usage.completion_tokens, usage.gpu_ns) == (1, 20, 10**10)


def test_time_taken_back_from_a_closed_month_makes_no_share_negative(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, tried(tenant, 1, 900), interval(tenant.pool, START, 100, busy_ns=10**9))
    ingest(NOW)
    rate_requests(LATER)
    december = NOW + timedelta(days=20)
    redis_client.flushall()
    close_period(
        "2026-11", user=None, now=december, accept=["events_not_shipped", "requests_waiting", "redis_away"]
    )
    after = december + timedelta(minutes=1)
    send(redis_client, answered(tenant, 2))
    ingest(after)
    rate_requests(after + timedelta(hours=2))

    period = BillingPeriod.objects.get(month="2026-12")
    write_cost_lines(period)

    assert LedgerEntry.objects.filter(period=period, gpu_ns=-900_000).exists()
    assert not CostLine.objects.filter(period=period, kind="busy").exists()


class TestGatewayLost:
    def lost(self, tenant: Tenant) -> GatewayEvent:
        """As a living gateway tells it in a dead one's place: from before any worker was asked."""
        return gateway_event(
            tenant,
            "r1",
            event_id=gateway_event_id("r1"),
            outcome="gateway_lost",
            reason="gateway_lost",
            http_status=0,
            forwarded=False,
            worker_id=None,
            **NO_TOKENS,
        )

    def test_the_engines_event_is_waited_for_and_charged(
        self, tenant: Tenant, redis_client: "redis.Redis"
    ) -> None:
        hold(redis_client, tenant, "r1", 9999)
        send(redis_client, self.lost(tenant))
        ingest(NOW)
        early = rate_requests(LATER)
        send(redis_client, tried(tenant, 1, 7, finish_reason="abort"))
        ingest(LATER)

        late = rate_requests(LATER)

        assert (early.settled, late.entries, late.settled) == (0, 1, 1)
        assert LedgerEntry.objects.get().outcome == "gateway_lost"
        assert booked() == (7, {"worker-1": 7_000})

    def test_without_one_nothing_is_charged_and_the_hold_is_given_back(
        self, tenant: Tenant, redis_client: "redis.Redis"
    ) -> None:
        hold(redis_client, tenant, "r1", 9999)
        send(redis_client, self.lost(tenant))
        ingest(NOW)

        early, late = rate_requests(LATER), rate_requests(MUCH_LATER)

        assert (early.settled, late.settled, LedgerEntry.objects.count()) == (0, 1, 0)
        assert int(redis_client.get(keys.spend(str(tenant.pk), "tenant", "2026-11")) or 0) == 0

    def test_of_several_tries_the_last_one_counts(self, tenant: Tenant, redis_client: "redis.Redis") -> None:
        send(redis_client, self.lost(tenant), tried(tenant, 1, 900))
        ingest(NOW)
        rate_requests(NOW)
        send(redis_client, tried(tenant, 2, 20))
        ingest(NOW)

        rate_requests(LATER)

        assert booked() == (20, {"worker-2": 20_000})

    @pytest.mark.parametrize("own_first", [True, False])
    @pytest.mark.parametrize("together", [True, False])
    def test_the_dead_gateways_own_event_and_the_others_are_one(
        self, tenant: Tenant, redis_client: "redis.Redis", *, own_first: bool, together: bool
    ) -> None:
        told = [answered(tenant, 1, event_id=gateway_event_id("r1")), self.lost(tenant)]
        told = told if own_first else told[::-1]
        for event in told:
            send(redis_client, event)
            if not together:
                ingest(NOW)
                rate_requests(NOW)
        send(redis_client, tried(tenant, 1, 20))
        ingest(NOW)

        rate_requests(LATER)

        assert GatewayUsage.objects.get().outcome == told[0].outcome
        assert (ParkedEvent.objects.count(), LedgerEntry.objects.filter(corrects=None).count()) == (0, 1)
        assert booked() == (20, {"worker-1": 20_000})


class InAnyOrder(TestCase):
    """Hypothesis with a transaction per example."""

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    def test_the_lines_sum_to_the_try_that_answered(self, data: st.DataObject) -> None:
        portal_redis().flushall()
        make_book(("1.00", "0.10", "3.333333"))
        tenant = make_tenant(make_pool())
        tries = data.draw(st.integers(1, 3), label="tries")
        ran = data.draw(st.sets(st.integers(1, tries)), label="ran")
        lost = data.draw(st.booleans(), label="gateway lost")
        known = data.draw(st.booleans(), label="gateway counted")
        works = {number: tried(tenant, number, 10 * number) for number in ran}
        counts = {"completion_tokens": 10 * tries} if known else NO_TOKENS
        gateway = answered(tenant, tries, **counts)
        if lost:
            gateway = answered(tenant, 0, outcome="gateway_lost", forwarded=False, **NO_TOKENS)
        events: list[UsageEvent] = [gateway, *works.values()]
        repeats = data.draw(st.lists(st.sampled_from(events), max_size=4), label="repeats")
        now = NOW
        for event in data.draw(st.permutations(events + repeats), label="order"):
            send(portal_redis(), event)
            if data.draw(st.booleans(), label="rated"):
                now += data.draw(st.sampled_from([timedelta(), timedelta(minutes=3), timedelta(hours=2)]))
                ingest(now)
                rate_requests(now)
        ingest(now)
        rate_requests(now + timedelta(hours=2))
        rate_requests(now + timedelta(hours=4))

        pays = max(ran, default=0) if lost else tries
        works_it = {f"worker-{pays}": 10_000 * pays} if pays in ran else {}
        counted = pays if pays in ran or (known and not lost) else 0
        assert booked() == (10 * counted, works_it)
        assert LedgerEntry.objects.filter(corrects=None).count() <= 1
        assert not PendingRequest.objects.exists()
