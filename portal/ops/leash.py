"""Run a command so that nothing of it outlives its owner: ``python -m portal.ops.leash -- CMD...``.

The leash ends the command when it is told to, when its own parent dies, or when the process named by
``--owner`` is gone: first the stop signal, then, after the grace, SIGKILL for every descendant. It is a
subreaper, so grandchildren that lost their parent are its descendants too. Linux only; it imports
nothing but the standard library, because one runs beside every service.
"""

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
LEFTOVER_GRACE_SECONDS = 5.0
_libc = ctypes.CDLL(None, use_errno=True)


def leash_command(
    command: Sequence[str],
    *,
    owner: int,
    grace: float = 10.0,
    stop_signal: signal.Signals = signal.SIGTERM,
    user: str | None = None,
) -> list[str]:
    """The command line that runs ``command`` under a leash, as long as process ``owner`` lives."""
    line = [sys.executable, "-I", str(Path(__file__).resolve()), "--owner", str(owner)]
    line += ["--grace", str(grace), "--stop-signal", stop_signal.name]
    if user is not None:
        line += ["--user", user]
    return [*line, "--", *command]


def set_parent_death_signal(number: signal.Signals) -> None:
    """Ask the kernel to send ``number`` to this process when its parent (thread) ends."""
    _prctl(PR_SET_PDEATHSIG, int(number))


def become_subreaper() -> None:
    """Make orphaned descendants children of this process."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def descendants(root: int) -> list[int]:
    """Process ids below ``root``, zombies left out."""
    children: dict[int, list[int]] = {}
    for pid, parent in _living():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _living() -> Iterator[tuple[int, int]]:
    """(pid, parent's pid) of every process that is not a zombie."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue  # it ended while we looked
        # The name in parentheses may hold spaces and parentheses itself.
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state != "Z":
            yield int(entry.name), int(parent)


class Leash:
    """One command, watched until it and all that it left behind are gone."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._command: list[str] = options.command
        self._stop_signal = signal.Signals[options.stop_signal]
        self._grace: float = options.grace
        self._user: str | None = options.user
        self._owner: int | None = options.owner
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._told_to_stop = False

    def run(self) -> int:
        """Return the command's exit status; 128 + n when signal n ended it, 125 without an owner."""
        parent = os.getppid()
        self._install_signals()
        become_subreaper()
        set_parent_death_signal(signal.SIGTERM)
        # The parent may have died before the kernel knew that we wanted to hear of it.
        if os.getppid() != parent or not self._owner_lives():
            return 125
        return self._watch(self._start())

    def _install_signals(self) -> None:
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in STOPPING:
            signal.signal(number, self._stop_asked)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _stop_asked(self, *_: object) -> None:
        self._told_to_stop = True

    def _owner_lives(self) -> bool:
        if self._owner is None:
            return True
        with contextlib.suppress(PermissionError):
            try:
                os.kill(self._owner, 0)
            except ProcessLookupError:
                return False
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        groups: Sequence[int] | None = [] if self._user else None
        return subprocess.Popen(  # noqa: S603 - running the given command is the purpose
            self._command,
            user=self._user,
            group=_primary_group(self._user),
            extra_groups=groups,
            # If the leash itself is killed, its command is told too. Single thread: preexec is safe.
            preexec_fn=lambda: set_parent_death_signal(self._stop_signal),  # noqa: PLW1509
        )

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        self._wait(lambda: self._told_to_stop or _ended(child), timeout=None)
        if not _ended(child):
            child.send_signal(self._stop_signal)
            self._wait(lambda: _ended(child), timeout=self._grace)
        if _ended(child):
            self._end_leftovers(child)
        self._kill_all(child)
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def _end_leftovers(self, child: subprocess.Popen[bytes]) -> None:
        """Ask what the command left behind to end."""
        for pid in descendants(os.getpid()):
            _signal(pid, signal.SIGTERM)
        grace = min(self._grace, LEFTOVER_GRACE_SECONDS)
        self._wait(lambda: _ended(child) and not descendants(os.getpid()), timeout=grace)

    def _kill_all(self, child: subprocess.Popen[bytes]) -> None:
        """SIGKILL until nothing is left: what is killed may have had children that now are ours."""
        while left := descendants(os.getpid()):
            for pid in left:
                _signal(pid, signal.SIGKILL)
            self._wait(lambda: _ended(child) and not descendants(os.getpid()), timeout=0.5)
        _ended(child)

    def _wait(self, done: Callable[[], bool], *, timeout: float | None) -> None:
        """Return when ``done()``, looked at after each signal and once a second, or after ``timeout``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        watched, owner_gone = self._watched()
        try:
            while not done() and not (deadline is not None and time.monotonic() >= deadline):
                left = 1.0 if deadline is None else max(0.0, min(1.0, deadline - time.monotonic()))
                ready = select.select(watched, [], [], left)[0]
                if self._reader in ready:
                    os.read(self._reader, 4096)
                if owner_gone is not None and owner_gone in ready:
                    self._told_to_stop = True
                    watched.remove(owner_gone)
        finally:
            if owner_gone is not None:
                os.close(owner_gone)

    def _watched(self) -> tuple[list[int], int | None]:
        if self._owner is None or self._told_to_stop:
            return [self._reader], None
        try:
            owner = os.pidfd_open(self._owner)
        except ProcessLookupError:
            self._told_to_stop = True
            return [self._reader], None
        return [self._reader, owner], owner


def _primary_group(user: str | None) -> int | None:
    if user is None:
        return None
    import pwd  # noqa: PLC0415 - only a leash that changes user needs it

    return pwd.getpwnam(user).pw_gid


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether ``child`` has ended; also collects orphans that became ours and have ended."""
    with contextlib.suppress(ChildProcessError):
        # Looked at without collecting: the child's own status is for Popen to collect.
        while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if found.si_pid == child.pid:
                child.poll()
            else:
                os.waitpid(found.si_pid, 0)
    return child.poll() is not None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="leash", description=__doc__)
    parser.add_argument("--owner", type=int, help="process id without which the command must not run")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds between stop signal and SIGKILL")
    parser.add_argument("--stop-signal", default="SIGTERM", choices=[s.name for s in signal.Signals])
    parser.add_argument("--user", help="run the command as this system user (needs root)")
    parser.add_argument("command", nargs="+")
    return Leash(parser.parse_args(arguments)).run()


if __name__ == "__main__":
    sys.exit(main())
