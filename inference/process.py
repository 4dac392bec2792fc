"""No orphans: vLLM's processes end with their launcher, however that ends.

They form one process group. The API server watches a pipe whose other end only the launcher holds;
EngineCore asks the kernel to end it with the API server; the launcher ends the group when the API
server is gone. Linux only.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence

PIPE_VARIABLE = "TENANTRY_LAUNCHER_PIPE"
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """SIGKILL for this process as soon as its parent is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def end_group_with_launcher() -> None:
    """Watch the launcher's pipe; when it closes, SIGKILL the whole process group, this process included."""
    reader = int(os.environ[PIPE_VARIABLE])

    def watch() -> None:
        while os.read(reader, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="launcher-watch", daemon=True).start()


class EngineProcess:
    """vLLM's API server and all that it starts."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        reader, self._writer = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                command,
                env={**environment, PIPE_VARIABLE: str(reader)},
                stdin=subprocess.DEVNULL,
                pass_fds=(reader,),
                start_new_session=True,
            )
        finally:
            os.close(reader)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_status(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def stop(self, *, seconds: float) -> None:
        """SIGTERM to the API server, which drains; SIGKILL to all that is left after ``seconds``."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End every process of the group at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
