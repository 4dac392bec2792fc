"""The home page's figures equal those computed by hand, from events and from day summaries alike."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.adapters.models import Alias
from portal.core.windows import Span, window
from portal.home.attention import matters
from portal.home.cards import cards
from portal.home.charges import charged, near_limit
from portal.home.figures import Figures, by_tenant, gaps, series, total
from portal.home.models import DayCharge, DayFigures
from portal.home.quantiles import quantile
from portal.home.summaries import summarise
from tests import factories
from tests.factories import NOW
from tests.portal.home import events

pytestmark = pytest.mark.django_db


def test_an_hour_is_summed_by_minute() -> None:
    tenant = factories.make_tenant()
    events.gateway(tenant, NOW - timedelta(minutes=5), ttft_us=100_000)
    events.gateway(tenant, NOW - timedelta(minutes=5), ttft_us=300_000)
    events.gateway(tenant, NOW - timedelta(minutes=2), outcome="rejected", ttft_us=None)
    events.gateway(tenant, NOW - timedelta(minutes=2), outcome="timeout", ttft_us=None)
    events.gateway(None, NOW - timedelta(minutes=90))
    events.engine(tenant, NOW - timedelta(minutes=5), prompt_tokens=10, completion_tokens=7)
    events.worker(NOW - timedelta(minutes=3), seconds=60, busy_ns=15_000_000_000, startup_ns=5_000_000_000)
    shown = window("1h", NOW)

    found = series(shown.current, shown.choice.bucket)

    whole = total(found)
    assert (whole.requests, whole.rejected, whole.failed) == (4, 1, 1)
    assert (whole.tokens, whole.cached_tokens, whole.gpu_ns) == (17, 4, 3_000_000)
    assert (whole.busy_ns, whole.startup_ns, whole.idle_ns) == (
        15_000_000_000,
        5_000_000_000,
        40_000_000_000,
    )
    assert found[NOW - timedelta(minutes=5)].requests == 2
    assert quantile(whole.ttft, 0.5) == pytest.approx(100_000, rel=0.01)
    assert quantile(whole.ttft, 0.99) == pytest.approx(300_000, rel=0.01)


def _a_month_of_events() -> None:
    first, second = factories.make_tenant(), factories.make_tenant()
    for days in range(40):
        moment = NOW - timedelta(days=days, hours=days % 5)
        tenant = first if days % 3 else second
        events.gateway(tenant, moment, ttft_us=50_000 + 10_000 * days)
        events.gateway(tenant, moment, outcome="rejected", ttft_us=None)
        events.engine(tenant, moment, prompt_tokens=days, completion_tokens=2 * days)
        events.worker(moment, seconds=30, busy_ns=1_000_000_000 + days)
        events.entry(tenant, moment, f"0.00000{days % 10}1")


def _filled(span: Span, bucket: timedelta) -> dict[datetime, Figures]:
    """Without the days on which nothing happened: a summary has them, the events do not."""
    return {start: part for start, part in series(span, bucket).items() if part != Figures()}


def test_summaries_change_no_figure() -> None:
    _a_month_of_events()
    shown = window("30d", NOW)
    spans = (shown.current, shown.previous)
    before = [_filled(span, shown.choice.bucket) for span in spans]
    tenants = by_tenant(shown.current, shown.choice.bucket, limit=10)
    charges = charged(shown.current)

    summed = summarise(NOW)

    assert len(summed) == 62
    assert [_filled(span, shown.choice.bucket) for span in spans] == before
    assert by_tenant(shown.current, shown.choice.bucket, limit=10) == tenants
    assert charged(shown.current) == charges


def test_a_day_is_summed_anew_when_a_late_event_came() -> None:
    _a_month_of_events()
    summarise(NOW)
    late = NOW - timedelta(days=3)
    events.gateway(None, late)
    events.entry(factories.make_tenant(), late - timedelta(days=1), "1")

    summed = summarise(NOW)

    assert summed == [(late - timedelta(days=1)).date(), late.date()]
    assert DayFigures.objects.get(day=late.date(), tenant_id=None).requests == 3
    assert DayCharge.objects.filter(day=summed[0]).count() == 2
    assert summarise(NOW) == []


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hours=st.tuples(st.integers(0, 300), st.integers(0, 300)),
    chosen=st.sets(st.integers(0, 12), max_size=13),
)
def test_days_and_gaps_together_are_the_span(hours: tuple[int, int], chosen: set[int]) -> None:
    origin = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    span = Span(*(origin + timedelta(hours=hour) for hour in sorted(hours)))
    inside = {
        (origin + timedelta(days=day)).date()
        for day in chosen
        if origin + timedelta(days=day) >= span.start and origin + timedelta(days=day + 1) <= span.end
    }

    left = list(gaps(span, inside))

    length = sum((gap.end - gap.start for gap in left), timedelta()) + timedelta(days=len(inside))
    assert length == span.end - span.start
    assert all(gap.start < gap.end for gap in left)


class TestCards:
    def test_say_what_happened_with_unit_and_change(self) -> None:
        tenant = factories.make_tenant(monthly_spend_limit=Decimal(10))
        events.gateway(tenant, NOW - timedelta(minutes=1))
        events.gateway(tenant, NOW - timedelta(minutes=1), outcome="rejected", ttft_us=None)
        events.gateway(tenant, NOW - timedelta(hours=24, minutes=1))
        events.engine(tenant, NOW - timedelta(minutes=1), prompt_tokens=1_200_000, completion_tokens=0)
        events.entry(tenant, NOW - timedelta(days=2), "2.5")
        shown = window("24h", NOW)
        bucket = shown.choice.bucket

        found = cards(
            factories.make_user(superuser=True),
            shown,
            NOW,
            series(shown.current, bucket),
            series(shown.previous, bucket),
        )

        texts = {card.title: (card.amount.text, card.change) for card in found}
        assert texts["Requests"] == ("2", "+100 %")
        assert texts["Tokens"] == ("1.2M", "")
        assert texts["Charged"] == ("2.50", "")
        assert texts["Rejections"] == ("1", "")
        charged = next(card for card in found if card.title == "Charged")
        assert charged.share == 25
        assert "2.50 of 10.00 in limits of 1 tenant" in charged.note

    def test_show_only_what_the_role_may_see(self) -> None:
        shown = window("24h", NOW)

        titles = {
            role: [card.title for card in cards(factories.make_user(role), shown, NOW, {}, {})]
            for role in ("ml-engineer", "customer-success")
        }

        assert "Charged" not in titles["ml-engineer"]
        assert "GPU time" in titles["ml-engineer"]
        assert "Charged" in titles["customer-success"]
        assert "GPU time" not in titles["customer-success"]


class TestAttention:
    def test_names_tenants_near_their_limit_the_fullest_first(self) -> None:
        half, near, over = (
            factories.make_tenant(name=name, monthly_spend_limit=Decimal(10)) for name in ("h", "n", "o")
        )
        for tenant, amount in ((half, "5"), (near, "9"), (over, "11")):
            events.entry(tenant, NOW - timedelta(days=1), amount)

        found, count = near_limit(Span(NOW - timedelta(days=20), NOW), shown=1)
        both, _ = near_limit(Span(NOW - timedelta(days=20), NOW), shown=9)

        assert ([one.name for one in found], count) == (["o"], 2)
        assert [one.name for one in both] == ["o", "n"]

    def test_a_tiers_limit_holds_where_the_tenant_has_none(self) -> None:
        tenant = factories.make_tenant(tier=factories.make_tier(monthly_spend_limit=Decimal(1)))
        events.entry(tenant, NOW - timedelta(days=1), "1")

        found = matters(factories.make_user(superuser=True), NOW)

        assert any("has used 100 %" in matter.text and matter.level == "critical" for matter in found)

    def test_an_alias_without_a_price_is_named(self) -> None:
        tenant = factories.make_tenant(name="Acme")
        Alias.objects.create(tenant=tenant, name="assistant")
        user = factories.make_user(superuser=True)

        without = [matter.text for matter in matters(user, NOW)]
        factories.make_prices(base_model=tenant.pool.base_model, effective_from=NOW - timedelta(days=1))
        priced = [matter.text for matter in matters(user, NOW)]

        assert "Aliases without a price" in without
        assert "Aliases without a price" not in priced

    def test_a_month_that_is_over_can_be_closed(self) -> None:
        events.entry(factories.make_tenant(), NOW - timedelta(days=30), "1")

        found = matters(factories.make_user("finance"), NOW)

        assert "October 2026 is over and can be closed" in [matter.text for matter in found]


@pytest.mark.django_db(transaction=True)
def test_while_another_one_sums_nobody_waits() -> None:
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        first = summarise(NOW)
        beside = pool.submit(_summarise_and_leave).result(timeout=20)

    assert len(first) == 62
    assert beside == []


def _summarise_and_leave() -> list[date]:
    try:
        return summarise(NOW)
    finally:
        connection.close()
