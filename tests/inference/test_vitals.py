"""When a worker must end: the decision, and a server that is stopped in the middle of its life."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from gateway_hooks.contract.identity import parse_keyring
from inference.probe import Probe
from inference.process import EngineProcess
from inference.shipping import Shipping
from inference.vitals import MISSES, Pulse, Vitals, VitalsError
from portal.ops.embedded import free_port
from tests.services import wait_until

# Healthy to everybody: stands in for an API server that needs half a minute to start.
SERVER = """
import http.server, sys
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""
KEYRING = parse_keyring("test:" + "00" * 32)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def engine(port: int) -> Iterator[EngineProcess]:
    process = EngineProcess([sys.executable, "-c", SERVER, str(port)], dict(os.environ))
    yield process
    process.kill()


@pytest.fixture
def shipping(tmp_path: Path, redis_client: "redis.Redis") -> Iterator[Shipping]:
    started = Shipping(redis_client, tmp_path / "outbox", live_boot="live")
    started.start()
    yield started
    started.finish(seconds=10)


@pytest.fixture
def probe(port: int) -> Iterator[Probe]:
    made = Probe(f"http://127.0.0.1:{port}", worker_id="w", keyring=KEYRING, timeout=0.3)
    yield made
    made.close()


def test_silence_counts_only_when_it_is_long_and_was_asked_often() -> None:
    pulse = Pulse(patience=30, heard_at=100)
    for now in (101, 102, 103):
        pulse.note(answered=False, now=now)

    assert pulse.misses == MISSES
    assert not pulse.lost(129.9), "connections were refused within seconds"
    assert pulse.lost(130)

    pulse.note(answered=True, now=131)
    pulse.note(answered=False, now=1_000)
    assert not pulse.lost(1_000), "the machine slept: one miss is no proof"


def test_a_server_that_hangs_after_it_was_ready_ends_the_worker(
    engine: EngineProcess, shipping: Shipping, probe: Probe
) -> None:
    vitals = Vitals(engine, shipping, probe, patience=1)
    wait_until(probe.healthy, seconds=20, what="a server")
    vitals.check()
    assert vitals.ask()

    os.kill(engine.pid, signal.SIGSTOP)

    assert [vitals.ask() for _ in range(MISSES - 1)] == [False] * (MISSES - 1)
    vitals.check()
    with pytest.raises(VitalsError, match="has not answered for") as caught:
        wait_until(vitals.ask, seconds=20, what="the end of patience")
    assert caught.value.code == "worker_hung"


def test_a_server_that_was_slow_for_a_moment_goes_on(
    engine: EngineProcess, shipping: Shipping, probe: Probe
) -> None:
    vitals = Vitals(engine, shipping, probe, patience=60)
    wait_until(probe.healthy, seconds=20, what="a server")

    os.kill(engine.pid, signal.SIGSTOP)
    answers = [vitals.ask() for _ in range(MISSES + 1)]
    os.kill(engine.pid, signal.SIGCONT)

    assert not any(answers)
    wait_until(vitals.ask, seconds=20, what="an answer")


def test_a_server_that_ended_ends_the_worker(engine: EngineProcess, shipping: Shipping, probe: Probe) -> None:
    engine.kill()

    with pytest.raises(VitalsError, match="status -9"):
        Vitals(engine, shipping, probe, patience=1).check()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_shipper_that_ended_ends_the_worker(
    engine: EngineProcess, shipping: Shipping, probe: Probe, tmp_path: Path
) -> None:
    vitals = Vitals(engine, shipping, probe, patience=1)
    vitals.check()

    shipping._send = None  # type: ignore[assignment,method-assign]  # a bug: the thread ends with a TypeError
    (tmp_path / "outbox" / "live").mkdir(parents=True)
    (tmp_path / "outbox" / "live" / "00000001.jsonl").write_text("{}\n")

    wait_until(lambda: not shipping.alive, seconds=10, what="the thread's end")
    with pytest.raises(VitalsError) as caught:
        vitals.check()
    assert caught.value.code == "shipper_died"
    assert "shipper" not in {thread.name for thread in threading.enumerate()}
