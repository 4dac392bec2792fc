"""Ingest: each event once for ever, whatever is repeated, out of order, unreadable, or killed."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
import redis
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from gateway_hooks.contract import keys
from gateway_hooks.contract.usage import UsageEvent, encode_event
from portal.core.redis import client as portal_redis
from portal.tenants.models import Tenant
from portal.usage.models import EngineUsage, GatewayUsage, ParkedEvent, PendingRequest, WorkerTime
from portal.usage.services import hold_ingest, ingest, retry_parked
from tests.portal.billing.books import (
    NOW,
    START,
    database_url,
    engine_event,
    gateway_event,
    interval,
    make_pool,
    make_tenant,
    send,
)
from tests.services import wait_until

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def tenant(db: None) -> Tenant:
    assert db is None
    return make_tenant(make_pool())


def kept() -> tuple[int, int, int, int]:
    models = (GatewayUsage, EngineUsage, WorkerTime, ParkedEvent)
    return tuple(model.objects.count() for model in models)  # type: ignore[return-value]


def test_a_request_by_token_keeps_the_whole_name_of_its_issuer(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    issuer = str(uuid4())
    send(redis_client, gateway_event(tenant, "r1", key_id=f"jwt-{issuer}", issuer_id=issuer))

    ingest(NOW)

    assert GatewayUsage.objects.get().key_id == f"jwt-{issuer}"


def test_all_kinds_are_kept_whole_and_leave_the_streams(tenant: Tenant, redis_client: "redis.Redis") -> None:
    sent = [gateway_event(tenant, "r1"), engine_event(tenant, "r1"), interval(tenant.pool, START, 10)]
    send(redis_client, *sent)

    done = ingest(NOW)

    assert (done.taken, done.new, done.repeated, done.parked) == (3, 3, 0, 0)
    rows = (GatewayUsage.objects.get(), EngineUsage.objects.get(), WorkerTime.objects.get())
    for event, row in zip(sent, rows, strict=True):
        assert row.payload == msgspec.json.decode(encode_event(event))
    assert redis_client.xlen(keys.GATEWAY_EVENTS) == redis_client.xlen(keys.ENGINE_EVENTS) == 0
    assert PendingRequest.objects.get().has_engine


def test_a_repeated_event_is_kept_once_within_a_batch_and_later(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    event = gateway_event(tenant, "r1")
    send(redis_client, event, event)
    ingest(NOW)
    send(redis_client, event)

    done = ingest(NOW + timedelta(days=400))

    assert (done.new, done.repeated) == (0, 1)
    assert kept() == (1, 0, 0, 0)


def test_a_second_event_about_one_request_is_parked_not_billed(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, gateway_event(tenant, "r1"), gateway_event(tenant, "r1", event_id="other"))

    ingest(NOW)

    assert kept() == (1, 0, 0, 1)
    assert ParkedEvent.objects.get().code == "usage_event_second"


def test_what_cannot_be_read_is_parked_whole_and_stops_nothing(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    bad = {
        b"no json": "usage_event_invalid",
        b"\xff\x00": "usage_event_invalid",
        b'{"kind":"weather"}': "usage_event_invalid",
        encode_event(gateway_event(tenant, "v", schema_version=99)): "usage_event_invalid",
        encode_event(gateway_event(tenant, "t", tenant_id="acme")): "usage_event_unfit",
        encode_event(gateway_event(tenant, "n", completion_tokens=-1)): "usage_event_unfit",
        encode_event(gateway_event(tenant, "big", prompt_tokens=2**40)): "usage_event_unfit",
        encode_event(gateway_event(tenant, "nul", alias="a\0b")): "usage_event_unfit",
        encode_event(gateway_event(tenant, "x" * 65)): "usage_event_unfit",
        encode_event(gateway_event(tenant, "c", cached_tokens=101)): "usage_event_inconsistent",
        encode_event(gateway_event(tenant, "z", ts=NOW.replace(tzinfo=None))): "usage_event_inconsistent",
        encode_event(gateway_event(tenant, "f", ts=NOW + timedelta(days=9))): "usage_event_from_the_future",
    }
    send(redis_client, gateway_event(tenant, "first"), *bad, gateway_event(tenant, "last"))
    redis_client.xadd(keys.GATEWAY_EVENTS, {"other": "field"})

    done = ingest(NOW)

    parked = {
        bytes(entry.raw): entry.code for entry in ParkedEvent.objects.exclude(code="stream_entry_malformed")
    }
    assert parked == bad
    assert ParkedEvent.objects.filter(code="stream_entry_malformed").count() == 1
    assert (done.new, done.parked) == (2, 13)
    assert redis_client.xlen(keys.GATEWAY_EVENTS) == 0


def test_long_texts_are_cut_in_the_columns_and_kept_in_the_payload(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    send(redis_client, gateway_event(None, "r1", alias="x" * 500, forwarded=False, outcome="rejected"))

    ingest(NOW)

    row = GatewayUsage.objects.get()
    assert (len(row.alias), len(row.payload["alias"])) == (63, 500)
    assert tenant.pk != row.tenant_id


def test_what_a_gateway_tells_of_its_decisions_has_columns(
    tenant: Tenant, redis_client: "redis.Redis"
) -> None:
    event = gateway_event(
        tenant,
        "r1",
        outcome="rejected",
        forwarded=False,
        end_user="e" * 64,
        served="fallback",
        degraded=True,
        attempts=2,
        queue_us=1500,
        clamped=True,
        max_output_tokens=64,
        choices=3,
        pii_counts={"EMAIL_ADDRESS": 2},
        refused_scope="key.abc",
        refused_limit=100,
        refused_used=90,
        refused_asked=20,
        configuration_version=4,
        issuer_id=str(tenant.pk),
    )
    send(redis_client, event, engine_event(tenant, "r2", shadow=True))

    ingest(NOW)

    row = GatewayUsage.objects.get()
    assert (row.served, row.degraded, row.attempts, row.queue_us) == ("fallback", True, 2, 1500)
    assert (row.clamped, row.max_output_tokens, row.choices) == (True, 64, 3)
    assert (row.refused_scope, row.refused_limit, row.refused_used, row.refused_asked) == (
        *("key.abc", 100, 90),
        20,
    )
    assert (row.pii_counts, row.configuration_version) == ({"EMAIL_ADDRESS": 2}, 4)
    assert (row.end_user, row.issuer_id, row.shadow_of) == ("e" * 64, tenant.pk, "")
    assert EngineUsage.objects.get().shadow is True


def test_events_of_the_first_schema_are_still_kept(tenant: Tenant, redis_client: "redis.Redis") -> None:
    old = msgspec.json.decode(encode_event(gateway_event(tenant, "r1")))
    new = {*("configuration_version", "issuer_id", "end_user", "served", "degraded", "attempts")}
    new |= {*("shadow_of", "queue_us", "counted_prompt_tokens", "max_output_tokens", "clamped", "choices")}
    new |= {*("pii_counts", "refused_scope", "refused_limit", "refused_used", "refused_asked")}
    raw = {name: value for name, value in old.items() if name not in new} | {"schema_version": 1}
    send(redis_client, msgspec.json.encode(raw))

    done = ingest(NOW)

    assert (done.new, done.parked) == (1, 0)
    row = GatewayUsage.objects.get()
    assert (row.choices, row.served, row.pii_counts) == (1, "", {})


def test_parked_events_can_be_tried_again(tenant: Tenant, redis_client: "redis.Redis") -> None:
    send(redis_client, b"never", gateway_event(tenant, "r1", ts=NOW + timedelta(days=9)))
    ingest(NOW)

    done = retry_parked(ParkedEvent.objects.all(), now=NOW + timedelta(days=9))

    assert (done.new, done.parked) == (1, 1)
    assert kept() == (1, 0, 0, 1)
    assert PendingRequest.objects.get().request_id == "r1"


@pytest.mark.django_db(transaction=True)
def test_only_one_ingests_at_a_time_and_the_others_do_not_wait(redis_client: "redis.Redis") -> None:
    tenant = make_tenant(make_pool())
    send(redis_client, gateway_event(tenant, "r1"))

    with transaction.atomic():
        hold_ingest()
        other = run_child("print(services.ingest(clock.now()).taken)")
    mine = ingest(NOW)

    assert other == "0"
    assert mine.new == 1


def ingest_all(client: "redis.Redis") -> None:
    """After a kill PostgreSQL may hold the dead one's lock a moment longer; until then nobody ingests."""

    def emptied() -> bool:
        ingest(NOW)
        return not any(client.xlen(stream) for stream in (keys.GATEWAY_EVENTS, keys.ENGINE_EVENTS))

    wait_until(emptied, seconds=30, what="the rest of the events")


KILLERS = {
    "between reading and committing": "services._keep = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
    "between committing and acknowledging": (
        "services._acknowledge = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    ),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("killer", KILLERS.values(), ids=KILLERS.keys())
def test_an_ingester_killed_at_its_worst_moment_loses_and_doubles_nothing(
    redis_client: "redis.Redis", killer: str
) -> None:
    tenant = make_tenant(make_pool())
    send(redis_client, *(gateway_event(tenant, f"r{number}") for number in range(20)))

    died = run_child(f"{killer}\nservices.ingest(clock.now(), batch=7)", status=-signal.SIGKILL)
    ingest_all(redis_client)

    assert died == ""
    assert kept() == (20, 0, 0, 0)
    assert PendingRequest.objects.count() == 20
    assert redis_client.xlen(keys.GATEWAY_EVENTS) == 0
    pending = redis_client.xpending(keys.GATEWAY_EVENTS, keys.INGEST_GROUP)
    assert pending["pending"] == 0


@pytest.mark.django_db(transaction=True)
def test_ingesters_killed_again_and_again_under_traffic_keep_every_event_once(
    redis_client: "redis.Redis",
) -> None:
    tenant = make_tenant(make_pool())
    rounds, per_round = 2, 100
    for turn in range(rounds):
        numbers = range(turn * per_round, (turn + 1) * per_round)
        for number in numbers:
            events = [gateway_event(tenant, f"r{number}"), engine_event(tenant, f"r{number}")]
            send(redis_client, *events, events[0])
        enough = turn * per_round + 20
        with start_child("while True: services.ingest(clock.now(), batch=5)") as child:
            wait_until(
                lambda enough=enough: GatewayUsage.objects.count() > enough,  # type: ignore[misc]
                seconds=30,
                what="some events",
            )
            child.kill()

    ingest_all(redis_client)

    expected = rounds * per_round
    assert kept() == (expected, expected, 0, 0)
    assert PendingRequest.objects.filter(has_gateway=True, has_engine=True).count() == expected


class OutOfOrder(TestCase):
    """Hypothesis with a transaction per example."""

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    def test_any_order_and_repetition_gives_the_same_rows(self, data: st.DataObject) -> None:
        portal_redis().flushall()
        tenant = make_tenant(make_pool())
        once: list[UsageEvent] = [
            event
            for number in range(4)
            for event in (
                gateway_event(tenant, f"r{number}"),
                engine_event(tenant, f"r{number}"),
                interval(tenant.pool, START + timedelta(seconds=number), 1),
            )
        ]
        repeats = data.draw(st.lists(st.sampled_from(once), max_size=20))
        for event in data.draw(st.permutations(once + repeats)):
            send(portal_redis(), event)
            if data.draw(st.booleans()):
                ingest(NOW, batch=data.draw(st.integers(1, 5)))

        ingest(NOW)

        assert kept() == (4, 4, 4, 0)
        assert PendingRequest.objects.filter(has_gateway=True, has_engine=True).count() == 4


PRELUDE = """
import os, signal
import django
django.setup()
from portal.core import clock
from portal.usage import services
"""


def start_child(code: str) -> subprocess.Popen[str]:
    environment = os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "portal.settings"}
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_child(code: str, *, status: int = 0) -> str:
    child = start_child(code)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == status
    return out.strip()
