"""A worker's beginnings and ends: Redis away, the engine killed, the launcher killed, a drain under load."""

import json
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.identity import parse_keyring
from inference.demo_model import voices
from tests.inference.live import LiveWorker, Signer, chat_body, demo_pool, end, publish, start_worker
from tests.services import PrivateRedis, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

Start = Callable[..., LiveWorker]


@pytest.fixture
def start(tmp_path: Path, keyring_text: str) -> Iterator[Start]:
    """A factory of workers that share one id and one data folder; all are ended after the test."""
    workers: list[LiveWorker] = []

    def make(redis_url: str, *, wait: bool = True) -> LiveWorker:
        signer = Signer(parse_keyring(keyring_text), worker_id="mortal")
        worker = start_worker(
            redis_url=redis_url, data=tmp_path, keyring_text=keyring_text, signer=signer, wait=wait
        )
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        end(worker)


def family(worker: LiveWorker) -> list[psutil.Process]:
    """Every process below the launcher."""
    return psutil.Process(worker.process.pid).children(recursive=True)


def engine_core(worker: LiveWorker) -> psutil.Process | None:
    return next((process for process in family(worker) if "EngineCore" in _title(process)), None)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""  # it ended while we looked


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def on_disk(worker: LiveWorker) -> str:
    """The text of the worker's outbox."""
    return "".join(path.read_text() for path in worker.data.glob("workers/*/outbox/*/*.jsonl"))


def publish_at(server: PrivateRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        publish(client, demo_pool())


def test_nothing_is_lost_when_redis_and_the_engine_die_and_a_drain_fails_nobody(
    start: Start, private_redis: Callable[[], PrivateRedis]
) -> None:
    server = private_redis()
    publish_at(server)
    first = start(server.url)

    # Redis goes: the worker serves on, and its events wait on disk.
    server.stop()
    unseen = [uuid.uuid4().hex for _ in range(3)]
    for request_id in unseen:
        assert first.post(chat_body(), request_id=request_id).status_code == 200
    wait_until(lambda: all(name in on_disk(first) for name in unseen), seconds=5, what="events on disk")

    # The engine goes: the launcher ends with an error, and takes everything with it.
    core = engine_core(first)
    assert core is not None
    left = family(first)
    core.send_signal(signal.SIGKILL)
    assert first.process.wait(60) == 1
    wait_until(lambda: all_gone(left), seconds=10, what="the end of the engine's processes")

    # A new launcher starts without Redis, from the pool it last knew.
    second = start(server.url, wait=False)
    wait_until(
        lambda: "is ready at" in second.log.read_text().partition("as it was last known")[2],
        seconds=120,
        what="a start without Redis",
    )
    assert second.post(chat_body()).json()["choices"][0]["message"]["content"] == voices.BASE_SENTENCE

    # Redis returns: what the first boot did arrives, each event under its own id.
    server.start()
    for request_id in unseen:
        assert second.event(request_id, seconds=20).finish_reason == "stop"
    ids = [event.event_id for event in second.events()]
    assert len(ids) == len(set(ids))
    wait_until(lambda: second.record() is not None, seconds=10, what="the record's return")

    # A drain: first out of routing, then until the stream in flight is done.
    text = _stream_through_a_drain(second)
    assert text.endswith("[DONE]")
    assert second.process.wait(60) == 0
    assert second.record() is None
    assert second.redis.smembers(keys.WORKERS) == set()


def _stream_through_a_drain(worker: LiveWorker) -> str:
    """Everything of a stream during which the launcher is told to stop; asserts the order of things."""
    request_id = uuid.uuid4().hex
    body = chat_body(stream=True, max_tokens=700, min_tokens=700, ignore_eos=True)
    received: list[str] = []
    states: list[str] = []

    def watch() -> None:
        def draining() -> bool:
            record = worker.record()
            return record is not None and record.state == "draining"

        wait_until(draining, seconds=10, what="the draining state")
        states.append(f"draining after {len(received)} lines")

    watcher = threading.Thread(target=watch)
    with worker.stream(body, request_id=request_id) as response:
        for line in response.iter_lines():
            if not received:
                worker.process.send_signal(signal.SIGTERM)
                watcher.start()
            received.append(line)
    watcher.join()
    events = [json.loads(line.removeprefix("data: ")) for line in received if line.startswith("data: {")]
    assert states
    assert not any("error" in event for event in events)
    assert events[-1]["choices"][0]["finish_reason"] == "length"
    assert worker.event(request_id, seconds=20).completion_tokens == 700
    return "".join(received)


def test_a_killed_launcher_leaves_no_process_behind_even_while_starting(
    start: Start, private_redis: Callable[[], PrivateRedis]
) -> None:
    server = private_redis()
    publish_at(server)
    worker = start(server.url, wait=False)
    wait_until(lambda: len(family(worker)) >= 3, seconds=90, what="the engine's processes")
    left = family(worker)

    worker.process.send_signal(signal.SIGKILL)

    worker.process.wait(10)
    wait_until(lambda: all_gone(left), seconds=10, what="the end of the engine's processes")


def test_a_second_launcher_of_the_same_worker_is_refused(
    start: Start, private_redis: Callable[[], PrivateRedis]
) -> None:
    server = private_redis()
    waiting = start(server.url, wait=False)  # nothing is published: it waits
    wait_until(lambda: "nothing is published yet" in waiting.log.read_text(), seconds=20, what="its waiting")

    second = start(server.url, wait=False)

    assert second.process.wait(20) == 1
    assert "worker_already_runs" in second.log.read_text()
    assert waiting.stop() == 0
