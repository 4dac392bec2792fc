"""What was spent by day: always the ledger's own sums, whatever zone and whoever moves to another one."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from portal.billing.models import LedgerEntry, SpentDay
from portal.billing.services import rate_requests
from portal.billing.spending import spent_by_scope, spent_in_ledger
from portal.core.redis import client as portal_redis
from portal.tenants.models import Tenant
from portal.usage.services import ingest
from tests.portal.billing.books import (
    NOW,
    START,
    engine_event,
    gateway_event,
    make_app,
    make_book,
    make_pool,
    make_tenant,
    send,
)

ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
MOMENTS = st.integers(-3 * 24 * 60, 20 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes))


class SameSums(TestCase):
    """Hypothesis with a transaction per example."""

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    def test_days_sum_to_what_the_ledger_says(self, data: st.DataObject) -> None:
        portal_redis().flushall()
        make_book(("1.00", "0.10", "3.333333"))
        pool = make_pool()
        tenants = [
            make_tenant(pool, f"Tenant {number}", billing_timezone=data.draw(st.sampled_from(ZONES)))
            for number in range(2)
        ]
        apps = [str(make_app(tenants[0]).pk), ""]
        for number in range(data.draw(st.integers(1, 8))):
            tenant, ts = data.draw(st.sampled_from(tenants)), data.draw(MOMENTS)
            who = {"ts": ts, "key_id": data.draw(st.sampled_from(["", "abc"]))}
            app = data.draw(st.sampled_from(apps)) or None
            # The engine's event comes after the charge: a correction is counted too.
            send(portal_redis(), gateway_event(tenant, f"r{number}", app_id=app, **who))
            ingest(NOW)
            rate_requests(NOW + timedelta(minutes=3))
            if data.draw(st.booleans(), label="corrected"):
                late = engine_event(
                    tenant, f"r{number}", ts=ts, completion_tokens=data.draw(st.integers(0, 99))
                )
                send(portal_redis(), late)
                ingest(NOW)
                rate_requests(NOW + timedelta(minutes=6))
            if data.draw(st.integers(0, 5), label="moves") == 0:
                Tenant.objects.filter(pk=tenant.pk).update(billing_timezone=data.draw(st.sampled_from(ZONES)))

        for moment in (NOW, START, START - timedelta(minutes=1), data.draw(MOMENTS)):
            everyone = Tenant.objects.all()
            assert spent_by_scope(everyone, moment) == spent_in_ledger(everyone, moment)
        assert SpentDay.objects.exists() == LedgerEntry.objects.exists()


def test_what_costs_nothing_is_not_kept(db: None) -> None:  # noqa: ARG001
    tenant = make_tenant(make_pool())
    send(portal_redis(), gateway_event(tenant, "r1"), engine_event(tenant, "r1"))
    ingest(NOW)

    rate_requests(NOW)

    assert LedgerEntry.objects.get().amount == Decimal(0)
    assert not SpentDay.objects.exists()
    assert spent_by_scope(Tenant.objects.all(), NOW) == {}
