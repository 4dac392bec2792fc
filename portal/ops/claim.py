"""One ``up`` per data folder: the lock, and what a killed run may have left."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from portal.ops.errors import OpsError
from portal.ops.layout import Layout

MARK = "TENANTRY_UP_RUN"
"""Environment variable that every process of an ``up`` carries: the run folder it belongs to."""
RUN_FILES = ("database_url", "redis_url", "supervisor.conf", "supervisor.sock", "supervisor.pid")


class AlreadyUpError(OpsError):
    """Another ``up`` runs on this data folder."""

    code = "already_up"


@contextmanager
def claimed(layout: Layout) -> Iterator[None]:
    """Hold the data folder. The lock is the kernel's: it ends with the process, however that ends."""
    with (layout.run / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            who = f" (process {holder})" if holder else ""
            message = (
                f"up already runs on {layout.data}{who}. End it first, or choose another folder with --data."
            )
            raise AlreadyUpError(message) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def remove_run_files(layout: Layout) -> None:
    for name in RUN_FILES:
        (layout.run / name).unlink(missing_ok=True)


def leftovers(layout: Layout) -> list[psutil.Process]:
    """Processes of an earlier run on this folder that have not ended yet."""
    return [process for process in psutil.process_iter() if _marked(process, str(layout.run))]


def _marked(process: psutil.Process, run: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(MARK) == run
    except (psutil.Error, OSError):
        return False  # it ended, or it is another user's


def end_leftovers(layout: Layout, pause: Callable[[], bool], *, patience: Callable[[], bool]) -> None:
    """Wait while ``patience()`` for the leashes of a killed run to end their commands, then kill the rest."""
    while leftovers(layout) and patience() and not pause():
        pass
    for process in leftovers(layout):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
