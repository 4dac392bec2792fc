"""Rating: one exact entry per request, from whichever events there are, and the hold settled."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.db import IntegrityError, connection, transaction

from gateway_hooks.contract import keys
from portal.billing.models import LedgerEntry, Rate
from portal.billing.services import Rated, rate_requests
from portal.tenants.models import Tenant
from portal.usage.models import PendingRequest
from portal.usage.services import ingest
from tests.portal.billing.books import (
    MODEL,
    NOW,
    add_rate,
    engine_event,
    gateway_event,
    hold,
    make_app,
    make_book,
    make_pool,
    make_tenant,
    send,
)

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(minutes=3)
MUCH_LATER = NOW + timedelta(hours=2)


@pytest.fixture
def tenant() -> Tenant:
    make_book(("1.00", "0.10", "3.333333"))
    return make_tenant(make_pool())


def test_a_request_with_both_events_is_charged_exactly_and_at_once(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    app = make_app(tenant)
    send(
        redis_client,
        gateway_event(tenant, "r1", app_id=str(app.pk), key_id="abc"),
        engine_event(tenant, "r1"),
    )
    ingest(NOW)

    done = rate_requests(NOW)

    entry = LedgerEntry.objects.get()
    assert done.entries == 1
    assert entry.source == "matched"
    assert entry.period_id == "2026-11"
    assert (entry.app_id, entry.app_name, entry.key_id) == (app.pk, "chat", "abc")
    assert entry.input_amount == Decimal("0.00006")
    assert entry.cached_input_amount == Decimal("0.000004")
    assert entry.output_amount == Decimal("0.00006666666")
    assert entry.gpu_ns == 500_000_000


def test_a_request_by_token_is_charged_under_its_issuer(tenant: Tenant, redis_client: "redis.Redis") -> None:
    by_token = f"jwt-{uuid4()}"
    send(
        redis_client,
        gateway_event(tenant, "r1", key_id=by_token),
        engine_event(tenant, "r1", key_id=by_token),
    )
    ingest(NOW)

    rate_requests(NOW)

    assert LedgerEntry.objects.get().key_id == by_token
    assert not PendingRequest.objects.exists()


def test_the_engine_says_how_many_tokens_also_when_the_client_hung_up(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    hung_up = gateway_event(
        tenant, "r1", outcome="disconnected", prompt_tokens=None, cached_tokens=None, completion_tokens=None
    )
    send(redis_client, hung_up, engine_event(tenant, "r1", completion_tokens=7, finish_reason="abort"))
    ingest(NOW)

    rate_requests(NOW)

    entry = LedgerEntry.objects.get()
    assert (entry.prompt_tokens, entry.cached_tokens, entry.completion_tokens) == (100, 40, 7)
    assert entry.outcome == "disconnected"


def test_a_lone_gateway_event_waits_for_the_grace_and_is_then_charged(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, gateway_event(tenant, "r1"))
    ingest(NOW)

    early, late = rate_requests(NOW), rate_requests(LATER)

    assert (early.entries, late.entries) == (0, 1)
    assert LedgerEntry.objects.get().source == "gateway_only"


def test_a_lone_engine_event_is_charged_to_the_signed_identity(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, engine_event(tenant, "r1", key_id="abc"))
    ingest(NOW)

    rate_requests(LATER)

    entry = LedgerEntry.objects.get()
    assert (entry.source, entry.tenant_id, entry.key_id) == ("engine_only", tenant.pk, "abc")
    assert entry.amount > 0


def test_without_any_token_count_the_engine_is_waited_for_much_longer(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    unknown = gateway_event(
        tenant, "r1", outcome="upstream_error", prompt_tokens=None, cached_tokens=None, completion_tokens=None
    )
    send(redis_client, unknown)
    ingest(NOW)

    early, late = rate_requests(LATER), rate_requests(MUCH_LATER)

    assert (early.entries, late.entries) == (0, 1)
    entry = LedgerEntry.objects.get()
    assert not entry.tokens_known
    assert entry.amount == 0


@pytest.mark.parametrize("completion", [1000, 3, 20])
def test_an_engine_event_that_comes_late_is_written_beside_the_entry(
    tenant: Tenant, redis_client: "redis.Redis", completion: int
) -> None:
    send(redis_client, gateway_event(tenant, "r1", key_id="abc"))
    ingest(NOW)
    rate_requests(LATER)
    send(redis_client, engine_event(tenant, "r1", completion_tokens=completion, worker_id="worker-2"))
    ingest(LATER)

    done = rate_requests(MUCH_LATER)

    entry, correction = LedgerEntry.objects.order_by("pk")
    assert (done.entries, done.corrections) == (0, 1)
    assert (entry.completion_tokens, entry.gpu_ns) == (20, 0)
    assert (correction.pk, correction.corrects, correction.key_id) == ("r1.1", entry, "abc")
    assert (correction.rate, correction.worker_id) == (entry.rate, "worker-2")
    assert (correction.prompt_tokens, correction.completion_tokens) == (0, completion - 20)
    assert entry.output_amount + correction.output_amount == Decimal("3.333333") * completion / 10**6
    assert correction.gpu_ns == 500_000_000
    assert not PendingRequest.objects.exists()


def test_tokens_that_nobody_knew_are_charged_when_the_engines_event_comes_after_all(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(
        redis_client,
        gateway_event(tenant, "r1", prompt_tokens=None, cached_tokens=None, completion_tokens=None),
    )
    ingest(NOW)
    rate_requests(MUCH_LATER)
    send(redis_client, engine_event(tenant, "r1"))
    ingest(MUCH_LATER)

    rate_requests(MUCH_LATER + timedelta(minutes=3))

    assert LedgerEntry.objects.get(corrects=None).amount == 0
    assert LedgerEntry.objects.get(corrects="r1").amount == Decimal("0.00013066666")


def test_a_correction_is_written_once_however_often_its_event_is_rated(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, gateway_event(tenant, "r1"))
    ingest(NOW)
    rate_requests(LATER)
    late = engine_event(tenant, "r1", completion_tokens=50)
    again = {"request_id": "r1", "ts": NOW, "seen_at": NOW, "tenant_id": tenant.pk}
    flags = {"has_gateway": True, "has_engine": True, "forwarded": True, "tokens_known": True}
    send(redis_client, late, late)
    ingest(LATER)
    rate_requests(MUCH_LATER)
    hold(redis_client, tenant, "r1", 9999)
    PendingRequest.objects.create(**again, **flags)

    done = rate_requests(MUCH_LATER)

    assert (done.corrections, done.settled) == (0, 1)
    assert LedgerEntry.objects.count() == 2
    assert int(redis_client.get(keys.spend(str(tenant.pk), "tenant", "2026-11")) or 0) == 231


def test_a_gateways_event_that_comes_late_corrects_nothing(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, engine_event(tenant, "r1"))
    ingest(NOW)
    rate_requests(LATER)
    send(redis_client, gateway_event(tenant, "r1", completion_tokens=999))
    ingest(LATER)

    done = rate_requests(MUCH_LATER)

    assert (done.entries, done.corrections) == (0, 0)
    assert LedgerEntry.objects.get().completion_tokens == 20


def test_a_refused_request_gets_no_entry_and_its_hold_is_given_back(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    (spend,) = hold(redis_client, tenant, "r1", 5000)
    send(redis_client, gateway_event(tenant, "r1", outcome="rejected", http_status=429, forwarded=False))
    ingest(NOW)

    done = rate_requests(NOW)

    assert done == Rated(without_entry=1, settled=1)
    assert not LedgerEntry.objects.exists()
    assert int(redis_client.get(spend) or -1) == 0


def test_the_hold_becomes_what_the_request_cost_rounded_up_to_a_micro(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    spends = hold(redis_client, tenant, "r1", 5000, "tenant", "key.abc")
    send(redis_client, gateway_event(tenant, "r1", key_id="abc"), engine_event(tenant, "r1"))
    ingest(NOW)

    rate_requests(NOW)

    assert [int(redis_client.get(name) or 0) for name in spends] == [131, 131]
    assert redis_client.hlen(keys.holds(str(tenant.pk))) == 0


def test_a_hold_that_the_gateway_settled_itself_is_not_settled_again(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    name = keys.spend(str(tenant.pk), "tenant", "2026-11")
    redis_client.set(name, 131)
    send(redis_client, gateway_event(tenant, "r1"), engine_event(tenant, "r1"))
    ingest(NOW)

    rate_requests(NOW)

    assert int(redis_client.get(name) or 0) == 131


def test_a_model_without_a_price_is_entered_at_nothing_and_can_be_seen(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, gateway_event(tenant, "r1", base_model="other"), engine_event(tenant, "r1"))
    ingest(NOW)

    rate_requests(NOW)

    entry = LedgerEntry.objects.get(rate__isnull=True)
    assert (entry.amount, entry.prompt_tokens) == (0, 100)


def test_the_price_is_that_of_the_admission_and_the_most_specific_one(redis_client: "redis.Redis") -> None:
    pool = make_pool()
    acme, globex = make_tenant(pool), make_tenant(pool, "Globex")
    book = make_book(("9", "9", "9"), published=False)
    add_rate(book, "2", "2", "2", tier=acme.tier)
    own = add_rate(book, "1", "1", "1", tenant=acme)
    book.published_at = NOW
    book.save()
    make_book(("100", "100", "100"), effective_from=NOW + timedelta(seconds=1), name="dearer")
    for tenant in (acme, globex):
        key = tenant.slug
        send(redis_client, gateway_event(tenant, key), engine_event(tenant, key))
    ingest(LATER)

    rate_requests(LATER)

    picked = {entry.tenant_name: entry.rate for entry in LedgerEntry.objects.select_related("rate")}
    assert picked["Acme"] == own
    assert picked["Globex"] is not None
    assert picked["Globex"].tier == globex.tier


def test_the_price_is_the_one_that_the_gateway_promised(tenant: Tenant, redis_client: "redis.Redis") -> None:
    promised = Rate.objects.get()
    make_book(("100", "100", "100"), effective_from=NOW, name="dearer")
    send(redis_client, gateway_event(tenant, "r1", rate_id=str(promised.pk)), engine_event(tenant, "r1"))
    ingest(NOW)

    rate_requests(NOW)

    assert LedgerEntry.objects.get().rate == promised


@pytest.mark.parametrize("why", ["draft", "other model", "other tenant", "unknown", "no number"])
def test_a_promise_that_is_no_price_of_the_request_is_not_followed(
    tenant: Tenant, redis_client: "redis.Redis", why: str
) -> None:
    listed = Rate.objects.get()
    book = make_book(effective_from=NOW + timedelta(days=1), published=why != "draft")
    scope: dict[str, dict[str, Any]] = {
        "other model": {"base_model": "other"},
        "other tenant": {"tenant": make_tenant(tenant.pool, "Globex")},
    }
    named = str(add_rate(book, "9", "9", "9", **scope.get(why, {})).pk)
    named = {"unknown": "123456", "no number": "cheap"}.get(why, named)
    send(redis_client, gateway_event(tenant, "r1", rate_id=named), engine_event(tenant, "r1"))
    ingest(NOW)

    rate_requests(NOW)

    assert LedgerEntry.objects.get().rate == listed


def test_a_request_of_an_unknown_tenant_stays_visible_and_stops_nobody_else(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    ghost = Tenant(name="Ghost", slug="ghost", pool=tenant.pool, tier=tenant.tier)
    send(redis_client, gateway_event(ghost, "r1"), engine_event(ghost, "r1"))
    send(redis_client, gateway_event(tenant, "r2"), engine_event(tenant, "r2"))
    ingest(NOW)

    done = rate_requests(NOW)

    assert done.entries == 1
    assert PendingRequest.objects.get().problem == "tenant_unknown"


def test_an_entry_keeps_the_names_of_its_time(tenant: Tenant, redis_client: "redis.Redis") -> None:
    send(redis_client, gateway_event(tenant, "r1"), engine_event(tenant, "r1"))
    ingest(NOW)
    rate_requests(NOW)

    Tenant.objects.filter(pk=tenant.pk).update(name="Acme Renamed")

    assert LedgerEntry.objects.get().tenant_name == "Acme"
    assert LedgerEntry.objects.get().base_model == MODEL


@pytest.mark.parametrize(
    "sql", ["UPDATE billing_ledgerentry SET prompt_tokens = 1", "DELETE FROM billing_ledgerentry"]
)
def test_no_entry_is_ever_changed_not_even_by_raw_sql(
    tenant: Tenant, redis_client: "redis.Redis", sql: str
) -> None:
    send(redis_client, gateway_event(tenant, "r1"), engine_event(tenant, "r1"))
    ingest(NOW)
    rate_requests(NOW)

    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        connection.cursor().execute(sql)
