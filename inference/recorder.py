"""The meter of a running EngineCore with its outbox: thread-safe, and never a disk on the step loop.

The step loop only does arithmetic and puts finished lines on a queue. One thread writes down together
what came during the last fsync, notices when the launcher found the worker ready, and closes the
intervals of an idle engine.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway_hooks.contract.usage import EngineEvent, WorkerInterval, encode_event
from inference.boot import Boot
from inference.choices import Choices
from inference.facts import Facts, engine_event, worker_interval
from inference.meter import Meter, Metered, Outcome, Part, Stretch
from inference.outbox import Outbox

log = logging.getLogger(__name__)

BATCH_LINES = 1_000
TICK_SECONDS = 0.1
IDLE_TICK_SECONDS = 1.0
RETRY_SECONDS = 1.0
CLOSE_SECONDS = 10.0
_STOP = None


class Recorder:
    """``clock`` is CLOCK_MONOTONIC in nanoseconds, shared with the launcher."""

    def __init__(self, boot: Boot, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._boot = boot
        self._clock = clock
        self._interval_ns = int(boot.interval_seconds * 1e9)
        self._lock = threading.Lock()
        self._meter = Meter(started_ns=boot.started_mono_ns)
        self._facts: dict[str, Facts | None] = {}
        self._choices = Choices()
        self._sequence = 0
        self._ready = False
        self._closed = False
        self._closing = threading.Event()
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outbox = Outbox(Path(boot.outbox) / boot.boot_id, max_bytes=boot.outbox_max_bytes)
        self._thread = threading.Thread(target=self._write_forever, name="outbox", daemon=True)
        self._thread.start()

    def arrived(self, request_id: str, facts: Facts | None) -> None:
        now_ns = self._clock()
        with self._lock:
            self._facts.setdefault(request_id, facts)
            if facts is not None and facts.choices > 1:
                self._choices.arrived(facts, request_id)
            self._meter.arrived(request_id, now_ns=now_ns)

    def scheduled(self, parts: Sequence[Part], *, started_ns: int) -> None:
        """``started_ns`` is when scheduling began: it is part of the step."""
        with self._lock:
            self._meter.scheduled(parts, now_ns=started_ns)

    def finished(self, request_id: str, outcome: Outcome) -> None:
        now_ns = self._clock()
        with self._lock:
            metered = self._meter.finished(request_id, outcome, now_ns=now_ns)
            if metered is not None:
                self._end_request(metered, now_ns=now_ns)

    def updated(self) -> None:
        now_ns = self._clock()
        with self._lock:
            for metered in self._meter.updated(now_ns=now_ns):
                self._end_request(metered, now_ns=now_ns)
            if now_ns - self._meter.stretch_start_ns >= self._interval_ns:
                self._emit_stretch(self._meter.cut(now_ns=now_ns))

    def close(self) -> None:
        """Write the last stretch and wait until everything is on disk. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            now_ns = self._clock()
            done, stretch = self._meter.close(now_ns=now_ns)
            for metered in done:
                self._end_request(metered, now_ns=now_ns)
            for facts, metered in self._choices.close():
                self._emit_request(facts, metered)
            self._emit_stretch(stretch)
            self._lines.put(_STOP)
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _end_request(self, metered: Metered, *, now_ns: int) -> None:
        """One answer is done; the event is made when all answers to the request are."""
        facts = self._facts.pop(metered.request_id, None)
        total: Metered | None = metered
        if facts is not None and facts.choices > 1:
            total = self._choices.finished(facts, metered, now_ns=now_ns)
        if total is not None:
            self._emit_request(facts, total)

    def _emit_request(self, facts: Facts | None, metered: Metered) -> None:
        self._emit(engine_event(self._boot, facts, metered, event_id=self._next_id()))

    def _emit_stretch(self, stretch: Stretch | None) -> None:
        if stretch is not None and stretch.end_ns > stretch.start_ns:
            self._emit(worker_interval(self._boot, stretch, event_id=self._next_id()))

    def _emit(self, event: EngineEvent | WorkerInterval) -> None:
        self._lines.put(encode_event(event))

    def _next_id(self) -> str:
        self._sequence += 1
        return f"{self._boot.boot_id}-{self._sequence}"

    def _tick(self) -> None:
        """What time alone brings about: readiness, and the end of an idle stretch."""
        now_ns = self._clock()
        newly_ready = not self._ready and self._boot.ready_file.exists()
        with self._lock:
            if self._closed:
                return
            for facts, metered in self._choices.given_up(now_ns=now_ns):
                self._emit_request(facts, metered)
            if newly_ready:
                stretch = self._meter.ready(now_ns=now_ns)
                self._ready = stretch is not None
                self._emit_stretch(stretch)
            elif now_ns - self._meter.stretch_start_ns >= self._interval_ns:
                self._emit_stretch(self._meter.cut(now_ns=now_ns))

    def _write_forever(self) -> None:
        try:
            while self._write_batch():
                self._tick()
        finally:
            self._outbox.close()

    def _write_batch(self) -> bool:
        """Write what came while the last batch was written; False when that was the end.

        No waiting for company: under load the batches grow by themselves, and without load an event is on
        disk as soon as the disk can have it.
        """
        try:
            batch = [self._lines.get(timeout=IDLE_TICK_SECONDS if self._ready else TICK_SECONDS)]
        except queue.Empty:
            return True
        with contextlib.suppress(queue.Empty):
            while len(batch) < BATCH_LINES:
                batch.append(self._lines.get_nowait())
        lines = [line for line in batch if line is not _STOP]
        if lines:
            self._append(lines)
        return len(lines) == len(batch)

    def _append(self, batch: Sequence[bytes]) -> None:
        """Until it is on disk, or until the engine ends: stopping tenants is the operator's decision."""
        while True:
            try:
                self._outbox.append(batch)
            except OSError:
                log.critical("the outbox cannot be written; %d usage events wait", len(batch), exc_info=True)
                self._outbox.close()  # what the failed write left is a torn line; go on in a new segment
            else:
                return
            if self._closing.wait(RETRY_SECONDS):
                log.critical("%d usage events are LOST: the outbox cannot be written", len(batch))
                return
