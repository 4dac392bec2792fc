"""A close names the usage that is still in a spool or in an outbox, and only that."""

import io
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command

from portal.billing import closing
from portal.billing.periods import open_period
from portal.billing.shipping import not_shipped
from portal.core import clock
from portal.fleet.models import GatewayProcess, Worker
from tests.portal.billing.books import NOW, interval, make_pool, send

pytestmark = pytest.mark.django_db


def make_gateway(name: str = "g1", **fields: Any) -> GatewayProcess:
    given = {
        "host": "gw.example",
        "pid": 7,
        "snapshot_version": 1,
        "snapshot_source": "redis",
        "spooled_events": 3,
        "started_at": NOW - timedelta(hours=1),
        "seen_at": NOW,
    }
    return GatewayProcess.objects.create(id=name, **(given | fields))


def make_worker(**fields: Any) -> Worker:
    given = {
        "pool": make_pool(),
        "boot_id": "boot-1",
        "state": "ready",
        "max_num_seqs": 8,
        "outbox_bytes": 3_000_000,
        "started_at": NOW - timedelta(minutes=10),
        "seen_at": NOW,
    }
    return Worker.objects.create(id="worker-1", **(given | fields))


@pytest.mark.usefixtures("redis_client")
@pytest.mark.parametrize("seen_ago", [timedelta(0), timedelta(days=2)])
def test_what_a_gateway_spooled_stands_against_a_close_until_it_is_accepted(seen_ago: timedelta) -> None:
    open_period("2026-11")
    make_gateway(seen_at=NOW - seen_ago)

    with pytest.raises(closing.CloseRefusedError, match=r"gateway g1 on gw.example .* 3 events") as refusal:
        closing.close_period("2026-11", user=None, now=NOW)

    assert [finding.code for finding in refusal.value.findings] == ["events_not_shipped"]
    period = closing.close_period("2026-11", user=None, now=NOW, accept=["events_not_shipped"])
    assert period.totals["findings"][0]["code"] == "events_not_shipped"


@pytest.mark.parametrize(
    ("host", "spooled", "named"), [("gw.example", 0, 0), ("gw.example", 1, 2), ("other", 0, 1)]
)
def test_a_later_gateway_of_the_same_host_took_over_the_spool(host: str, spooled: int, named: int) -> None:
    make_gateway(seen_at=NOW - timedelta(minutes=5))
    make_gateway("g2", host=host, spooled_events=spooled)

    assert len(not_shipped(open_period("2026-11"), now=NOW)) == named


@pytest.mark.parametrize(
    ("arrived_ago", "fields", "named"),
    [
        (20, {}, 0),
        (120, {}, 1),
        (120, {"outbox_bytes": 0}, 0),
        (120, {"seen_at": NOW - timedelta(seconds=110)}, 0),
        (400, {"seen_at": NOW - timedelta(seconds=110)}, 1),
        (20, {"boot_id": "boot-2"}, 1),
        (400, {"seen_at": NOW - timedelta(days=30), "started_at": NOW - timedelta(days=40)}, 0),
    ],
)
def test_a_worker_is_named_when_its_reports_end_long_before_it_was_last_seen(
    redis_client: "redis.Redis", arrived_ago: int, fields: dict[str, Any], named: int
) -> None:
    worker = make_worker(**fields)
    send(redis_client, interval(worker.pool, NOW - timedelta(seconds=arrived_ago + 10), 10))
    closing.drain(NOW)

    found = not_shipped(open_period("2026-11"), now=NOW)

    assert len(found) == named
    assert all("worker worker-1" in words and "UTC" in words for words in found)


@pytest.mark.usefixtures("redis_client")
def test_the_command_waits_for_usage_that_is_elsewhere_and_says_so() -> None:
    now = clock.now()
    make_gateway(seen_at=now)
    out = io.StringIO()

    with pytest.raises(CommandError, match="--accept events_not_shipped"):
        call_command("close_period", f"{now:%Y-%m}", "--wait", "0.1", stdout=out)

    assert "Waiting for usage that is elsewhere: gateway g1 on gw.example is alive" in out.getvalue()
