"""Every event arrives although the shipper, the writer and Redis are killed: real processes, real Redis."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.usage import WorkerInterval, decode_event
from inference.outbox import stored_bytes
from inference.shipping import Shipping
from tests.inference.live import ROOT
from tests.services import PrivateRedis, wait_until

EVENTS = 2_000


def run(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.inference.outbox_processes", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def length(client: "redis.Redis") -> int:
    return int(client.xlen(keys.ENGINE_EVENTS))  # type: ignore[arg-type]  # the sync client answers at once


def arrived(client: "redis.Redis") -> Counter[str]:
    entries = client.xrange(keys.ENGINE_EVENTS)
    events = [decode_event(fields[keys.EVENT_FIELD.encode()]) for _, fields in entries]  # type: ignore[union-attr]
    return Counter(event.event_id for event in events if isinstance(event, WorkerInterval))


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    with process:
        pass


def test_a_killed_shipper_loses_nothing(tmp_path: Path, redis_client: "redis.Redis") -> None:
    url = redis_url(redis_client)
    writer = run("write", str(tmp_path), "live", str(EVENTS))
    for kills in range(1, 4):
        shipper = run("ship", url, str(tmp_path))
        wait_until(
            lambda so_far=kills * EVENTS // 5: length(redis_client) >= so_far,  # type: ignore[misc]
            seconds=30,
            what="some events",
        )
        kill(shipper)
    writer.communicate(timeout=60)

    shipper = run("ship", url, str(tmp_path))
    wait_until(lambda: len(arrived(redis_client)) >= EVENTS, seconds=30, what="all events")
    shipper.communicate(timeout=30)

    assert set(arrived(redis_client)) == {f"live-{number}" for number in range(EVENTS)}
    assert stored_bytes(tmp_path) == 0


def test_what_a_killed_writer_had_finished_is_shipped_after_a_restart(
    tmp_path: Path, redis_client: "redis.Redis"
) -> None:
    writer = run("write", str(tmp_path), "earlier", str(10**9))
    assert writer.stdout is not None
    for _ in range(300):
        last = int(writer.stdout.readline())
    kill(writer)

    shipper = run("ship", redis_url(redis_client), str(tmp_path))
    wait_until(lambda: not (tmp_path / "earlier").exists(), seconds=30, what="the earlier boot")
    shipper.communicate(timeout=30)

    assert {f"earlier-{number}" for number in range(last + 1)} <= set(arrived(redis_client))


def test_events_wait_on_disk_while_redis_is_away(
    tmp_path: Path, private_redis: Callable[[], PrivateRedis]
) -> None:
    server = private_redis()
    shipper = run("ship", server.url, str(tmp_path / "outbox"))
    server.stop()
    run("write", str(tmp_path / "outbox"), "live", "100").communicate(timeout=30)

    server.start()
    with redis.Redis.from_url(server.url) as client:
        wait_until(lambda: len(arrived(client)) == 100, seconds=30, what="all events")
    shipper.communicate(timeout=30)

    assert stored_bytes(tmp_path / "outbox") == 0


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """An outbox with one boot that is over: ten events, none of them shipped."""
    run("write", str(tmp_path), "over", "10").communicate(timeout=30)
    return tmp_path


@pytest.fixture
def shipping(redis_client: "redis.Redis", outbox: Path) -> Iterator[Shipping]:
    made = Shipping(redis_client, outbox, live_boot="live")
    yield made
    made.finish(seconds=10)


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


def test_files_that_cannot_be_written_stop_the_shipping_until_they_can_be(
    shipping: Shipping, outbox: Path, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    # Nobody can open a folder for writing, not even root, whom permissions would not stop.
    blocker = outbox / "over" / f".shipped.json.{os.getpid()}"
    blocker.mkdir()
    run("write", str(outbox), "live", "3").communicate(timeout=30)
    shipping.start()
    wait_until(lambda: len(arrived(redis_client)) == 3, seconds=30, what="the events of the other boot")
    wait_until(lambda: said(caplog, "cannot be read or cleared") == 1, seconds=30, what="a complaint")
    assert shipping.alive

    blocker.rmdir()

    wait_until(lambda: not (outbox / "over").exists(), seconds=30, what="the rest")
    wait_until(lambda: said(caplog, "shipped again") == 1, seconds=30, what="the good news")
    assert arrived(redis_client) == Counter(
        {f"live-{number}": 1 for number in range(3)} | {f"over-{number}": 1 for number in range(10)}
    ), "nothing was sent that could not be remembered"
    assert said(caplog, "cannot be read or cleared") == 1


def test_a_damaged_memory_of_what_was_shipped_sends_again_rather_than_never(
    shipping: Shipping, outbox: Path, redis_client: "redis.Redis"
) -> None:
    (outbox / "over" / "shipped.json").write_bytes(b'{"segment": "0000')

    shipping.start()

    wait_until(lambda: not (outbox / "over").exists(), seconds=30, what="all events")
    assert set(arrived(redis_client)) == {f"over-{number}" for number in range(10)}
    assert shipping.alive


def redis_url(client: "redis.Redis") -> str:
    """Of the tests' common Redis, for another process."""
    assert client.ping()
    return os.environ["REDIS_URL"]


pytestmark = pytest.mark.timeout(120)
