"""Shadow copies and abandoned tries are in no tenant's figures; copies are listed only for who asks."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from portal.core import clock
from portal.core.windows import Span
from portal.home.figures import DAY, by_tenant, series, total
from portal.home.summaries import summarise
from portal.usage.selectors import tenant_usage
from tests import factories
from tests.factories import NOW
from tests.portal.home import events

pytestmark = pytest.mark.django_db


def test_figures_from_events_and_from_summaries_leave_out_copies_and_abandoned_tries() -> None:
    tenant = factories.make_tenant()
    at = NOW - timedelta(days=3)
    events.gateway(tenant, at, request_id="r1", attempts=2)
    events.engine(tenant, at, request_id="r1", attempt=1, completion_tokens=900)
    events.engine(tenant, at, request_id="r1", attempt=2)
    events.gateway(tenant, at, request_id="lost", outcome="gateway_lost", ttft_us=None)
    events.engine(tenant, at, request_id="lost", attempt=1)
    events.gateway(tenant, at, request_id="copy", shadow_of="r1")
    events.engine(tenant, at, request_id="copy", shadow=True)
    span = Span(NOW - timedelta(days=7), NOW)

    before = total(series(span, DAY)), by_tenant(span, DAY, limit=9)
    summarise(NOW)
    after = total(series(span, DAY)), by_tenant(span, DAY, limit=9)

    assert before == after
    whole, tenants = after
    assert (whole.requests, whole.failed, whole.tokens, whole.gpu_ns) == (2, 1, 30, 6_000_000)
    assert whole.ttft.total() == 1
    assert tenants == [(tenant.pk, 30, 2)]
    usage = tenant_usage(tenant, span.start, span.end)
    assert (usage.requests, usage.failed, usage.tokens, usage.gpu_ns) == (2, 1, 30, 6_000_000)


@pytest.mark.parametrize("copies", ["", "with", "only"])
def test_the_lists_show_copies_on_demand(copies: str) -> None:
    client = Client()
    client.force_login(factories.make_user(superuser=True))
    tenant, now = factories.make_tenant(), clock.now()
    events.gateway(tenant, now, alias="mine-alone")
    events.gateway(tenant, now, alias="the-copy", shadow_of="r1")
    events.engine(tenant, now, worker_id="mine-alone")
    events.engine(tenant, now, worker_id="the-copy", shadow=True)

    for name in ("gatewayusage", "engineusage"):
        url = reverse(f"admin:usage_{name}_changelist")
        page = client.get(url, {"copies": copies} if copies else {}).content.decode()

        assert ("mine-alone" in page) == (copies != "only")
        assert ("the-copy" in page) == (copies != "")
