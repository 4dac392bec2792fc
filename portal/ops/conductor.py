"""Brings services up step by step, keeps them up, and takes them down in the opposite order."""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from portal.ops.backoff import Backoff
from portal.ops.errors import OpsError
from portal.ops.services import Service, Step
from portal.ops.supervision import Supervision
from portal.ops.terminal import Terminal

LOOK_SECONDS = 0.2
PROBE_SECONDS = 0.5
TAIL_LINES = 20
STARTS_BEFORE_GIVING_UP = 3
"""During the first start only: a service that once was ready is restarted for ever."""


class StartError(OpsError):
    """A service did not become ready."""

    code = "start_failed"


class Interrupted(Exception):  # noqa: N818 - not an error: somebody asked us to end
    """Ctrl-C or SIGTERM came while services were still starting."""


class Asked:
    """What signals have asked for: once to end, twice to end now."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.now = threading.Event()

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        (self.now if self.stop.is_set() else self.stop).set()


@dataclass
class _Watched:
    service: Service
    backoff: Backoff = field(default_factory=Backoff)
    since: float = 0.0
    probe: Future[bool] | None = None
    probe_at: float = 0.0
    ready: bool = False
    ready_once: bool = False
    restart_at: float | None = None


class Conductor:
    def __init__(
        self,
        supervision: Supervision,
        terminal: Terminal,
        *,
        logs: Path,
        asked: Asked,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._supervision = supervision
        self._terminal = terminal
        self._logs = logs
        self._asked = asked
        self._watched: dict[str, _Watched] = {}
        # Probes wait for answers; meanwhile Ctrl-C, restarts and the terminal must not.
        self._probes = ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe")
        self.on_change = on_change

    def bring_up(self, steps: Sequence[Step]) -> None:
        """Raise ``StartError`` or ``Interrupted``; what has started until then runs on."""
        for step in steps:
            if self._asked.stop.is_set():
                raise Interrupted
            if step.before is not None:
                self._prepare(step.title, step.before)
            for service in step.services:
                one = _Watched(service)
                self._watched[service.name] = one
                self._start(one)
            fresh = [self._watched[service.name] for service in step.services]
            while waiting := [one for one in fresh if not one.ready]:
                self._look()
                self._require_progress(waiting)
                self._pause()
        self._terminal.waiting({})

    def keep_up(self) -> None:
        """Restart what dies, until somebody asks to end."""
        while not self._asked.stop.is_set():
            self._look()
            self._asked.stop.wait(LOOK_SECONDS)

    def take_down(self) -> None:
        """End the services, the last one first; a second request to end leaves that to the caller."""
        self._probes.shutdown(wait=False, cancel_futures=True)
        for one in reversed(self._watched.values()):
            if self._asked.now.is_set():
                return
            self._end(one.service)
        self._terminal.waiting({})

    def _prepare(self, title: str, before: Callable[[], None]) -> None:
        begun = time.monotonic()
        before()
        self._terminal.done(title, "ready", time.monotonic() - begun)

    def _pause(self) -> None:
        if self._asked.stop.wait(LOOK_SECONDS):
            raise Interrupted

    def _start(self, one: _Watched) -> None:
        now = time.monotonic()
        # A probe that is still under way was of the process before.
        one.since, one.ready, one.restart_at, one.probe = now, False, None, None
        one.backoff.started(now)
        one.service.starting()
        self._supervision.start_service(one.service.name)

    def _look(self) -> None:
        statuses = self._supervision.statuses()
        for name, one in self._watched.items():
            now = time.monotonic()
            if one.restart_at is not None:
                if now >= one.restart_at:
                    self._start(one)
            elif not statuses[name].running:
                self._ended(one, statuses[name].exit_status, now)
            elif not one.ready:
                self._probe(one, now)
        now = time.monotonic()
        self._terminal.waiting({n: now - one.since for n, one in self._watched.items() if not one.ready})

    def _ended(self, one: _Watched, status: int, now: float) -> None:
        delay = one.backoff.ended(now)
        one.ready, one.restart_at = False, now + delay
        self._terminal.failed(one.service.name, f"ended with status {status}; starts again in {delay:.0f} s")

    def _probe(self, one: _Watched, now: float) -> None:
        if one.probe is None:
            if now >= one.probe_at:
                one.probe = self._probes.submit(one.service.ready)
            return
        if not one.probe.done():
            return
        one.ready, one.probe, one.probe_at = one.probe.result(), None, now + PROBE_SECONDS
        if one.ready:
            again = "ready again" if one.ready_once else "ready"
            one.ready_once = True
            self._terminal.done(one.service.name, again, now - one.since)
            self.on_change()

    def _require_progress(self, waiting: Sequence[_Watched]) -> None:
        now = time.monotonic()
        for one in waiting:
            if one.backoff.failures >= STARTS_BEFORE_GIVING_UP:
                self._give_up(one.service, f"ended {one.backoff.failures} times before it was ready")
            if one.restart_at is None and not one.ready and now - one.since >= one.service.patience:
                self._give_up(one.service, f"was not ready within {one.service.patience:.0f} s")

    def _give_up(self, service: Service, what: str) -> None:
        log = self._logs / f"{service.name}.log"
        last = "\n".join(f"    {line}" for line in tail(log))
        message = f"{service.name} {what}. The end of {log}:\n{last}"
        raise StartError(message)

    def _end(self, service: Service) -> None:
        begun = time.monotonic()
        self._supervision.stop_service(service.name)
        # The leash keeps to ``grace``; the rest is for the kernel and supervisord.
        while self._supervision.statuses()[service.name].running:
            passed = time.monotonic() - begun
            if self._asked.now.is_set() or passed > service.grace + 10:
                return
            self._terminal.waiting({f"the end of {service.name}": passed})
            self._asked.now.wait(LOOK_SECONDS / 2)
        self._terminal.done(service.name, "ended", time.monotonic() - begun)


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last ``lines`` of a log, or a word on why there are none."""
    try:
        with log.open(errors="replace") as file:
            return [line.rstrip() for line in deque(file, lines)] or ["(empty)"]
    except FileNotFoundError:
        return ["(not written yet)"]
