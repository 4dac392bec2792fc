"""One run of ``up``, from the first check to the last process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from portal.ops import report
from portal.ops.claim import claimed, end_leftovers, leftovers, remove_run_files
from portal.ops.conductor import Asked, Conductor, Interrupted, tail
from portal.ops.errors import OpsError
from portal.ops.layout import Layout, ensure_secrets, write_private
from portal.ops.leash import become_subreaper, descendants, leash_command
from portal.ops.plan import Options, Stores, environment, plan_product, plan_stores
from portal.ops.ports import require_free
from portal.ops.services import Step
from portal.ops.supervision import Supervision, SupervisorGoneError
from portal.ops.terminal import Terminal

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PREPARE_SECONDS = 300
LEFTOVER_SECONDS = 40
SUPERVISOR_SECONDS = 30


def run(options: Options, terminal: Terminal, env: Mapping[str, str]) -> None:
    """Return when somebody asked to end and everything has ended. Raises ``OpsError``."""
    layout = Layout.of(options.data)
    layout.prepare()
    asked = Asked()
    with claimed(layout):
        asked.install()
        become_subreaper()
        try:
            _run(options, layout, terminal, env, asked)
        finally:
            _kill_descendants()
            remove_run_files(layout)


def _run(options: Options, layout: Layout, terminal: Terminal, env: Mapping[str, str], asked: Asked) -> None:
    _clear_the_past(layout, terminal, asked)
    require_free(options.wanted_ports())
    ensure_secrets(layout)
    terminal.say(f"Tenantry starts in {layout.data}")
    stores = plan_stores(options, layout, env)
    product = plan_product(options, layout, stores)
    shared = environment(options, layout, stores, env)
    supervision = Supervision(layout, (*stores.services, *product), shared)
    first = report.FirstSecrets(layout)
    conductor = Conductor(supervision, terminal, logs=layout.logs, asked=asked)
    preparation = Preparation(options, layout, first, shared, terminal, asked)
    steps = [
        Step(services=stores.services),
        Step(title="database", before=preparation.run),
        Step(services=product),
    ]
    with _supervised(supervision, asked):
        try:
            _write_run_files(layout, stores)
            conductor.bring_up(steps)
            secrets = first.read()
            terminal.say(report.text(options.urls, secrets, demo=options.demo, layout=layout))
            with json_file(options, layout, supervision, secrets, conductor):
                first.shown()
                conductor.keep_up()
        except Interrupted:
            terminal.say("asked to end while starting")
        except SupervisorGoneError:
            raise
        except OpsError as error:
            terminal.failed("start", str(error))
            conductor.take_down()
            raise OpsError("Tenantry did not come up; see above.", code=error.code) from error  # noqa: EM101
        terminal.say("ending (once more ends at once)")
        conductor.take_down()


def _clear_the_past(layout: Layout, terminal: Terminal, asked: Asked) -> None:
    if leftovers(layout):
        terminal.say("an earlier run was killed; waiting for its processes to end")
        deadline = time.monotonic() + LEFTOVER_SECONDS
        end_leftovers(layout, lambda: asked.stop.wait(0.2), patience=lambda: time.monotonic() < deadline)
    remove_run_files(layout)


class Preparation:
    """Schema, roles and, if asked for, the demo: a process of its own, which sees the running stores."""

    def __init__(
        self,
        options: Options,
        layout: Layout,
        first: report.FirstSecrets,
        env: Mapping[str, str],
        terminal: Terminal,
        asked: Asked,
    ) -> None:
        self._seed = options.demo
        self._log = layout.logs / "prepare.log"
        self._first = first
        self._env = env
        self._terminal = terminal
        self._asked = asked

    def run(self) -> None:
        """Raise ``OpsError`` with the end of its log, or ``Interrupted``."""
        # What an earlier start left there, cut short between seed and collection, must not be overwritten.
        self._first.collect()
        seed = ["--seed", str(self._first.seeded)] if self._seed else []
        try:
            self._wait_for([sys.executable, "-m", "portal.ops.prepare", *seed])
        finally:
            self._first.collect()

    def _wait_for(self, command: Sequence[str]) -> None:
        begun = time.monotonic()
        with self._log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own program
                leash_command(command, owner=os.getpid()),
                env=dict(self._env),
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while process.poll() is None:
            passed = time.monotonic() - begun
            self._terminal.waiting({"database": passed})
            if self._asked.stop.wait(0.1) or passed >= PREPARE_SECONDS:
                process.terminate()
                process.wait()
                break
        if self._asked.stop.is_set():
            raise Interrupted
        if process.returncode != 0:
            last = "\n".join(f"    {line}" for line in tail(self._log))
            message = f"the database could not be prepared. The end of {self._log}:\n{last}"
            raise OpsError(message, code="prepare_failed")


@contextlib.contextmanager
def _supervised(supervision: Supervision, asked: Asked) -> Iterator[None]:
    deadline = time.monotonic() + SUPERVISOR_SECONDS
    supervision.start()
    try:
        while not supervision.answers() and not asked.stop.is_set():
            if time.monotonic() >= deadline:
                message = f"supervisord did not answer within {SUPERVISOR_SECONDS} s"
                raise SupervisorGoneError(message)
            asked.stop.wait(0.05)
        yield
    finally:
        if asked.now.is_set():
            _kill_descendants()
        supervision.end()


def _write_run_files(layout: Layout, stores: Stores) -> None:
    """So that ``manage.py`` in another terminal finds the servers that run here."""
    write_private(layout.run / "database_url", stores.database_url + "\n")
    write_private(layout.run / "redis_url", stores.redis_url + "\n")


@contextlib.contextmanager
def json_file(
    options: Options,
    layout: Layout,
    supervision: Supervision,
    secrets: Mapping[str, object],
    conductor: Conductor,
) -> Iterator[None]:
    """The file for scripts, kept true while services are restarted, and gone at the end."""
    path = options.json_file
    if path is None:
        yield
        return

    def write() -> None:
        write_private(path, report.as_json(options.urls, secrets, pids(supervision), layout) + "\n")

    write()
    conductor.on_change = write
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def pids(supervision: Supervision) -> dict[str, int]:
    """Process ids: of ``up``, of supervisord, and of each service itself (not of its leash)."""
    found = {"up": os.getpid(), "supervisord": supervision.pid}
    for name, status in supervision.statuses().items():
        if status.running:
            found[name] = _below(status.pid)
    return found


def _below(leash: int) -> int:
    try:
        children = psutil.Process(leash).children()
    except psutil.NoSuchProcess:
        return 0
    return children[0].pid if children else leash


def _kill_descendants() -> None:
    """Nothing that was started here stays, whatever happened; on the usual way out nothing is left."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
