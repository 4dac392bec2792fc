"""The recorder's thread on a real disk, with a clock that the test sets."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway_hooks.contract.usage import EngineEvent, WorkerInterval, decode_event
from inference.boot import Boot
from inference.facts import Facts
from inference.meter import Outcome, Part
from inference.recorder import Recorder
from tests.inference.live import ROOT, demo_pool
from tests.services import wait_until

SECOND = 10**9
START = 500 * SECOND
FACTS = Facts(request_id="r", issued_at=1_760_000_000.25, tenant_id="t", app_id="a", key_id="k", alias="x")
DONE = Outcome(reason="stop", prompt_tokens=4, cached_tokens=1, completion_tokens=2)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    return Boot(
        worker_id="w",
        boot_id="boot",
        pool=demo_pool(),
        started_wall_ns=1_760_000_000 * SECOND,
        started_mono_ns=START,
        folder=str(tmp_path),
        outbox=str(tmp_path / "outbox"),
        adapter_store=str(tmp_path / "adapters"),
        interval_seconds=10,
        outbox_max_bytes=1 << 20,
        max_body_bytes=1 << 20,
    )


@pytest.fixture
def recorder(boot: Boot, clock: Clock) -> Iterator[Recorder]:
    made = Recorder(boot, clock=clock)
    yield made
    made.close()


def written(boot: Boot) -> list[Any]:
    segments = sorted(Path(boot.outbox).rglob("*.jsonl"))
    whole = [path.read_bytes().rpartition(b"\n")[0] for path in segments]
    return [decode_event(line) for text in whole for line in text.splitlines()]


def run_request(recorder: Recorder, clock: Clock, *, seconds: int) -> None:
    recorder.arrived("chatcmpl-r", FACTS)
    part = Part(request_id="chatcmpl-r", tokens=4, computed_before=0, prompt_tokens=4)
    recorder.scheduled([part], started_ns=clock.now)
    clock.now += seconds * SECOND
    recorder.finished("chatcmpl-r", DONE)
    recorder.updated()


def test_a_finished_request_is_on_disk_at_once_with_its_signed_facts(
    recorder: Recorder, boot: Boot, clock: Clock
) -> None:
    run_request(recorder, clock, seconds=2)

    wait_until(lambda: bool(written(boot)), seconds=5, what="the event")
    event = written(boot)[0]
    assert isinstance(event, EngineEvent)
    assert (event.event_id, event.request_id, event.tenant_id) == ("boot-1", "r", "t")
    assert event.ts.timestamp() == FACTS.issued_at
    assert (event.finished_at - boot.wall(START)).total_seconds() == 2
    assert event.prefill_ns == 2 * SECOND


def test_several_answers_to_a_request_are_one_event(recorder: Recorder, boot: Boot, clock: Clock) -> None:
    facts = msgspec.structs.replace(FACTS, choices=3)
    names = [f"{index}_chatcmpl-r" for index in range(3)]
    for name in names:
        recorder.arrived(name, facts)
    parts = [Part(request_id=name, tokens=4, computed_before=0, prompt_tokens=4) for name in names]
    recorder.scheduled(parts, started_ns=clock.now)
    clock.now += 2 * SECOND
    recorder.updated()
    for name in names:
        recorder.finished(name, DONE)
    run_request(recorder, clock, seconds=1)

    wait_until(lambda: len(written(boot)) == 2, seconds=5, what="the events")
    several, single = written(boot)
    assert (several.request_id, several.prompt_tokens, several.completion_tokens) == ("r", 4, 6)
    assert several.prefill_ns + several.decode_ns == 2 * SECOND
    assert single.prefill_ns + single.decode_ns == 1 * SECOND


def test_answers_that_are_done_when_the_engine_ends_are_not_lost(
    recorder: Recorder, boot: Boot, clock: Clock
) -> None:
    facts = msgspec.structs.replace(FACTS, choices=2)
    for name in ("0_r", "1_r"):
        recorder.arrived(name, facts)
    recorder.finished("0_r", DONE)
    clock.now += SECOND

    recorder.close()

    event, _ = written(boot)
    assert (event.request_id, event.completion_tokens) == ("r", 2)


def test_start_up_ends_when_the_launcher_says_ready_and_intervals_touch(
    recorder: Recorder, boot: Boot, clock: Clock
) -> None:
    clock.now += 7 * SECOND
    boot.ready_file.touch()
    wait_until(lambda: len(written(boot)) == 1, seconds=5, what="the start-up interval")
    clock.now += 11 * SECOND
    wait_until(lambda: len(written(boot)) == 2, seconds=5, what="an idle interval")
    run_request(recorder, clock, seconds=12)
    clock.now += SECOND
    recorder.close()

    intervals = [event for event in written(boot) if isinstance(event, WorkerInterval)]
    assert [(i.startup_ns // SECOND, i.busy_ns // SECOND, i.steps) for i in intervals] == [
        (7, 0, 0),
        (0, 0, 0),
        (0, 12, 1),
        (0, 0, 0),
    ]
    assert [i.start for i in intervals[1:]] == [i.end for i in intervals[:-1]]
    assert intervals[0].start == boot.wall(START)
    assert (intervals[-1].end - intervals[0].start).total_seconds() == 31


def test_a_request_that_nobody_signed_is_shown_and_belongs_to_nobody(recorder: Recorder, boot: Boot) -> None:
    recorder.arrived("internal", None)
    recorder.finished("internal", DONE)

    wait_until(lambda: bool(written(boot)), seconds=5, what="the event")
    assert (written(boot)[0].request_id, written(boot)[0].tenant_id) == ("internal", "")


ROOM = 700
FULL_DISK = f"""
ROOM = {ROOM}
import json, resource, signal, sys
from inference.boot import Boot
import msgspec
from inference.recorder import Recorder
from inference.meter import Outcome
boot = msgspec.json.decode(open(sys.argv[1], "rb").read(), type=Boot)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
recorder = Recorder(boot)
def abort(name):
    recorder.arrived(name, None)
    recorder.finished(name, Outcome(reason="abort", prompt_tokens=1, cached_tokens=0, completion_tokens=0))
resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
for number in range(5):
    abort(f"while-full-{{number}}")
print("full", flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
abort("afterwards")
sys.stdin.readline()
recorder.close()
"""


def test_what_came_while_the_disk_was_full_is_written_when_there_is_room(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "boot.json").write_bytes(msgspec.json.encode(boot))
    process = subprocess.Popen(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "boot.json")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    segment = Path(boot.outbox) / "boot" / "00000001.jsonl"
    wait_until(lambda: segment.stat().st_size == ROOM, seconds=10, what="a full disk")
    process.stdin.write(b"\n")
    process.stdin.flush()

    def whole_lines() -> set[str]:
        found = set()
        for path in Path(boot.outbox).rglob("*.jsonl"):
            complete = path.read_bytes().rpartition(b"\n")[0].splitlines()
            found |= {json.loads(line).get("request_id", "") for line in complete}
        return found

    wanted = {f"while-full-{number}" for number in range(5)} | {"afterwards"}
    wait_until(lambda: wanted <= whole_lines(), seconds=15, what="all events")
    _, errors = process.communicate(b"\n", timeout=20)

    assert process.returncode == 0
    assert b"cannot be written" in errors
