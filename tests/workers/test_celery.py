"""The jobs as they run: a real Celery worker and beat on a real broker."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from gateway_hooks.contract import keys
from portal.billing.models import LedgerEntry
from portal.core import clock
from tests.portal.billing.books import (
    database_url,
    engine_event,
    gateway_event,
    hold,
    interval,
    make_book,
    make_pool,
    make_tenant,
    send,
)
from tests.services import wait_until
from workers.celery import app

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def celery_process(
    transactional_db: None, redis_client: "redis.Redis", tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """One process with worker and beat; ended as an operator would end it."""
    assert (transactional_db, redis_client.dbsize()) == (None, 0)
    environment = os.environ | {"DATABASE_URL": database_url(), "TENANTRY_DATA": str(tmp_path)}
    log = tmp_path / "celery.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "workers", "worker", "--beat", "--loglevel", "INFO"],
            cwd=CHECKOUT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    sys.stdout.write(log.read_text())


@pytest.mark.django_db(transaction=True)
def test_usage_on_the_streams_becomes_settled_entries_and_costs_by_itself(
    celery_process: subprocess.Popen[bytes], redis_client: "redis.Redis"
) -> None:
    now = clock.now()
    make_book(("1", "1", "1"))
    tenant = make_tenant(make_pool())
    hold(redis_client, tenant, "r1", 10_000)
    send(
        redis_client,
        gateway_event(tenant, "r1", ts=now),
        engine_event(tenant, "r1", ts=now),
        interval(tenant.pool, now - timedelta(hours=1), 3600, busy_ns=10**9),
    )

    wait_until(LedgerEntry.objects.exists, seconds=40, what="the entry")
    wait_until(lambda: not redis_client.exists(keys.holds(str(tenant.pk))), seconds=10, what="the settlement")
    wait_until(lambda: redis_client.xlen(keys.ENGINE_EVENTS) == 0, seconds=10, what="the acknowledgement")

    assert LedgerEntry.objects.get().gpu_ns == 500_000_000
    assert celery_process.poll() is None
    assert all(key.startswith(b"tn:") for key in redis_client.keys("*")), "every name has our prefix"


@pytest.mark.django_db
def test_every_tick_names_a_task_and_expires_soon() -> None:
    app.loader.import_default_modules()

    ticks = app.conf.beat_schedule.values()

    assert {tick["task"] for tick in ticks} <= set(app.tasks)
    assert all(0 < tick["options"]["expires"] <= max(2, tick["schedule"].total_seconds()) for tick in ticks)


def test_the_readme_lists_every_task() -> None:
    app.loader.import_default_modules()
    text = (CHECKOUT / "workers" / "README.md").read_text()

    ours = {name.rpartition(".")[2] for name in app.tasks if name.startswith("workers.")}

    assert ours == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
