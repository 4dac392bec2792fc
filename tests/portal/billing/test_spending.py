"""Days and months by scope, in the tenant's own zone; and what is nobody's to pay."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from gateway_hooks.contract import keys
from portal.billing import settlement
from portal.billing.alerts import alert_budgets, reached
from portal.billing.models import BudgetAlert, LedgerEntry
from portal.billing.months import day_bounds, day_of
from portal.billing.services import rate_requests
from portal.home.budget_alerts import budget_matters
from portal.tenants.models import App, Tenant, TokenIssuer
from portal.tenants.raises import raise_limit
from portal.usage.models import PendingRequest
from portal.usage.services import ingest
from tests import factories
from tests.portal.billing.books import (
    NOW,
    engine_event,
    gateway_event,
    hold,
    make_app,
    make_book,
    make_pool,
    make_tenant,
    send,
)

ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia")


@given(
    moment=st.integers(1_420_000_000, 2_050_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    zone=st.sampled_from(ZONES),
)
def test_every_moment_is_in_exactly_one_day_of_its_zone(moment: datetime, zone: str) -> None:
    start, end = day_bounds(moment, zone)

    assert start <= moment < end
    assert day_of(start, zone) == day_of(moment, zone) == day_of(end - timedelta(microseconds=1), zone)
    assert day_bounds(end, zone)[0] == end
    assert timedelta(hours=22) < end - start < timedelta(hours=26)


@pytest.fixture
def tenant(db: None) -> Tenant:  # noqa: ARG001
    make_book(("1", "1", "1"))
    return make_tenant(make_pool(), billing_timezone="Asia/Tokyo")


def use(client: "redis.Redis", tenant: Tenant, name: str, at: datetime = NOW, app: App | None = None) -> None:
    who = {"ts": at, "key_id": "abc", "app_id": str(app.pk) if app else None}
    send(client, gateway_event(tenant, name, **who), engine_event(tenant, name, ts=at))
    ingest(NOW)
    rate_requests(NOW)


def counters(client: "redis.Redis", tenant: Tenant, scope: str) -> tuple[int, int]:
    """(today's, this month's)."""
    names = (keys.spend(str(tenant.pk), scope, period) for period in ("2026-11-21", "2026-11"))
    return tuple(int(client.get(name) or 0) for name in names)  # type: ignore[return-value]


def test_lost_counters_of_day_and_month_start_again_for_tenant_app_and_key(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    app = make_app(tenant)
    use(redis_client, tenant, "today", app=app)
    use(redis_client, tenant, "tokyos yesterday", at=datetime(2026, 11, 20, 14, 59, tzinfo=UTC), app=app)
    use(redis_client, tenant, "without an app")
    redis_client.flushall()

    raised = settlement.raise_spend_floor(NOW)
    again = settlement.raise_spend_floor(NOW)

    assert counters(redis_client, tenant, "tenant") == (240, 360)
    assert counters(redis_client, tenant, "key.abc") == (240, 360)
    assert counters(redis_client, tenant, keys.app_scope(str(app.pk))) == (120, 240)
    assert (raised, again) == (6, 0)
    day, month = (
        redis_client.ttl(keys.spend(str(tenant.pk), "tenant", period)) for period in ("2026-11-21", "2026-11")
    )
    assert 0 < day <= 3 * 86_400 < month


def test_many_tenants_are_asked_about_in_few_commands(tenant: Tenant, redis_client: "redis.Redis") -> None:
    for number in range(12):
        make_tenant(tenant.pool, f"Other {number}")
    settlement.make_spend_known(NOW)
    before = redis_client.info("commandstats")

    assert settlement.make_spend_known(NOW) == 0

    after = redis_client.info("commandstats")
    assert after["cmdstat_exists"]["calls"] - before.get("cmdstat_exists", {}).get("calls", 0) == 1


def test_a_shadow_copy_is_charged_to_nobody_and_its_hold_is_given_back(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    hold(redis_client, tenant, "s1", 5000)
    send(redis_client, engine_event(tenant, "s1", shadow=True))
    send(redis_client, gateway_event(tenant, "s2", shadow_of="r2"), engine_event(tenant, "s2", shadow=True))
    send(redis_client, gateway_event(tenant, "s3", shadow_of="r3", forwarded=True))
    ingest(NOW)

    rate_requests(NOW + timedelta(days=1))

    assert not LedgerEntry.objects.exists()
    assert not PendingRequest.objects.exists()
    assert counters(redis_client, tenant, "tenant")[1] == 0


class TestAlerts:
    def test_each_percentage_is_told_once(self, tenant: Tenant, redis_client: "redis.Redis") -> None:
        Tenant.objects.update(monthly_spend_limit=Decimal("0.000300"), alert_percentages=[30, 75, 100])
        use(redis_client, tenant, "r1")

        first, again = alert_budgets(NOW), alert_budgets(NOW)
        use(redis_client, tenant, "r2")
        use(redis_client, tenant, "r3")
        later = alert_budgets(NOW)

        assert (first, again, later) == (1, 0, 2)
        told = BudgetAlert.objects.order_by("percent")
        assert [(one.percent, one.scope, one.period) for one in told] == [
            (30, "tenant", "2026-11"),
            (75, "tenant", "2026-11"),
            (100, "tenant", "2026-11"),
        ]
        assert told[0].spent == Decimal("0.00012")

    def test_apps_and_keys_have_budgets_of_their_own_and_the_tiers_percentages(
        self, tenant: Tenant, redis_client: "redis.Redis"
    ) -> None:
        app = make_app(tenant)
        App.objects.filter(pk=app.pk).update(daily_spend_limit=Decimal("0.0002"))
        factories.make_key(app, daily_spend_limit=Decimal(5))
        use(redis_client, tenant, "r1", app=app)

        alert_budgets(NOW)

        told = BudgetAlert.objects.get()
        assert (told.scope, told.period, told.percent) == (keys.app_scope(str(app.pk)), "2026-11-21", 50)
        (matter,) = budget_matters(NOW)
        assert matter.text == "Acme / chat reached 50 % of its daily spend limit"
        assert list(budget_matters(NOW + timedelta(days=3))) == []

    def test_a_raise_moves_the_percentages(self, tenant: Tenant, redis_client: "redis.Redis") -> None:
        Tenant.objects.update(monthly_spend_limit=Decimal("0.000120"))
        raise_limit(
            tenant=tenant,
            limit="monthly_spend_limit",
            value=Decimal(1),
            until=NOW + timedelta(days=1),
            reason="Launch day",
            now=NOW,
            user=None,
        )
        use(redis_client, tenant, "r1")

        assert alert_budgets(NOW) == 0
        assert alert_budgets(NOW + timedelta(days=2)) == 3

    def test_a_raise_that_the_usual_limit_has_overtaken_lowers_nothing(
        self, tenant: Tenant, redis_client: "redis.Redis"
    ) -> None:
        Tenant.objects.update(monthly_spend_limit=Decimal("0.000120"))
        raise_limit(
            tenant=tenant,
            limit="monthly_spend_limit",
            value=Decimal("0.0002"),
            until=NOW + timedelta(days=1),
            reason="Launch day",
            now=NOW,
            user=None,
        )
        Tenant.objects.update(monthly_spend_limit=Decimal(1))
        use(redis_client, tenant, "r1")

        assert alert_budgets(NOW) == 0

    def test_a_token_issuer_has_a_budget_of_its_own(
        self, tenant: Tenant, redis_client: "redis.Redis"
    ) -> None:
        issuer = TokenIssuer.objects.create(
            tenant=tenant,
            app=make_app(tenant),
            name="Login",
            issuer="https://login.example.com/",
            audience="chat",
            algorithms=["RS256"],
            created_at=NOW,
            daily_spend_limit=Decimal("0.0002"),
        )
        key_id = f"jwt-{issuer.pk}"
        send(
            redis_client,
            gateway_event(tenant, "r1", key_id=key_id, issuer_id=str(issuer.pk)),
            engine_event(tenant, "r1"),
        )
        ingest(NOW)
        rate_requests(NOW)

        alert_budgets(NOW)

        assert BudgetAlert.objects.get().scope == keys.key_scope(key_id)

    def test_a_refusal_for_want_of_budget_is_all_of_it(
        self, tenant: Tenant, redis_client: "redis.Redis"
    ) -> None:
        Tenant.objects.update(daily_spend_limit=Decimal("0.000300"))
        refusal = {
            "outcome": "rejected",
            "forwarded": False,
            "reason": "budget_exhausted",
            "http_status": 429,
        }
        send(
            redis_client,
            gateway_event(tenant, "r1", refused_scope="tenant", refused_limit=300, **refusal),
        )
        ingest(NOW)

        alert_budgets(NOW)

        assert BudgetAlert.objects.filter(percent=100, period="2026-11-21").exists()
        assert {matter.level for matter in budget_matters(NOW)} == {"critical"}


@given(spent=st.integers(0, 10**15), limit=st.integers(1, 10**15))
def test_a_percentage_is_told_only_when_it_was_reached(spent: int, limit: int) -> None:
    share = reached(spent, limit)

    assert share * limit <= spent * 100 < (share + 1) * limit
