"""The process manager: supervisord keeps processes and logs, ``up`` tells it what to start and when.

supervisord gives up on a program after some tries; ``up`` shall not, so it restarts programs itself and
supervisord is told never to.
"""

import http.client
import os
import shlex
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.states import ProcessStates
from supervisor.xmlrpc import Faults, SupervisorTransport

from portal.ops.errors import OpsError
from portal.ops.layout import Layout, write_private
from portal.ops.leash import descendants, leash_command
from portal.ops.services import Service

LONGEST_SOCKET_PATH = 100
"""The kernel takes 107 bytes; supervisord binds a name with its process id at the end first."""
LOG_BYTES = 10_000_000
LOG_BACKUPS = 3
ENDED = (ProcessStates.STOPPED, ProcessStates.EXITED, ProcessStates.FATAL, ProcessStates.BACKOFF)


class SupervisorGoneError(OpsError):
    """supervisord does not answer; its services end with it."""

    code = "supervisor_gone"


@dataclass(frozen=True)
class Status:
    """``pid`` is the leash's, 0 when the program does not run; ``exit_status`` is of its last end."""

    running: bool
    pid: int
    exit_status: int


class Supervision:
    """supervisord under a leash, spoken to over its private socket."""

    def __init__(self, layout: Layout, services: Sequence[Service], environment: Mapping[str, str]) -> None:
        self._layout = layout
        self._services = services
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_folder: tempfile.TemporaryDirectory[str] | None = None
        self._socket = layout.run / "supervisor.sock"
        if len(str(self._socket)) > LONGEST_SOCKET_PATH - 10:
            self._socket_folder = tempfile.TemporaryDirectory(prefix="tenantry-")
            self._socket = Path(self._socket_folder.name) / "supervisor.sock"

    @property
    def pid(self) -> int:
        below = descendants(self._process.pid) if self._process else []
        return below[0] if below else 0

    def start(self) -> None:
        configuration = self._layout.run / "supervisor.conf"
        write_private(configuration, configure(self._layout, self._services, socket=self._socket))
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(configuration)]
        with (self._layout.logs / "supervisord.out").open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own leash and supervisord
                leash_command(command, owner=os.getpid(), grace=3),
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for ``up`` alone, which then ends its services in order.
                start_new_session=True,
            )

    def answers(self) -> bool:
        """Whether supervisord is there; raises when it ended."""
        if self._process is not None and self._process.poll() is not None:
            log = self._layout.logs / "supervisord.out"
            message = f"supervisord ended with status {self._process.returncode}; see {log}"
            raise SupervisorGoneError(message)
        try:
            self._call("supervisor.getState")
        except SupervisorGoneError:
            return False
        return True

    def start_service(self, name: str) -> None:
        self._call("supervisor.startProcess", name, False, tolerate=(Faults.ALREADY_STARTED,))

    def stop_service(self, name: str) -> None:
        """Ask it to stop; ``status`` says when it has."""
        self._call("supervisor.stopProcess", name, False, tolerate=(Faults.NOT_RUNNING,))

    def statuses(self) -> dict[str, Status]:
        return {
            info["name"]: Status(info["state"] not in ENDED, info["pid"], info["exitstatus"])
            for info in self._call("supervisor.getAllProcessInfo")
        }

    def end(self) -> None:
        """End supervisord and whatever still runs below it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(15)
            self._process = None
        if self._socket_folder is not None:
            self._socket_folder.cleanup()

    def _call(self, method: str, *arguments: Any, tolerate: Sequence[int] = ()) -> Any:
        transport = SupervisorTransport(serverurl=f"unix://{self._socket}")
        try:
            with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
                return getattr(proxy, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in tolerate:
                return None
            message = f"supervisord refused {method}{arguments}: {fault.faultString}"
            raise OpsError(message, code="supervisor_refused") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            message = f"supervisord does not answer: {error}"
            raise SupervisorGoneError(message) from error
        finally:
            transport.close()


def configure(layout: Layout, services: Sequence[Service], *, socket: Path) -> str:
    """supervisord's configuration. It names no secret: those come by the environment."""
    user = "user=root\n" if os.geteuid() == 0 else ""
    head = f"""[unix_http_server]
file={_plain(socket)}
chmod=0600

[supervisord]
{user}logfile={_plain(layout.logs / "supervisord.log")}
logfile_maxbytes={LOG_BYTES}
logfile_backups={LOG_BACKUPS}
pidfile={_plain(layout.run / "supervisor.pid")}
childlogdir={_plain(layout.logs)}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    return "\n".join([head, *(_program(layout, service) for service in services)])


def _program(layout: Layout, service: Service) -> str:
    command = leash_command(
        service.command,
        owner=os.getpid(),
        grace=service.grace,
        stop_signal=service.stop_signal,
        user=service.user,
    )
    environment = ",".join(f'{name}="{_plain(value)}"' for name, value in service.environment.items())
    return f"""[program:{service.name}]
command={_plain(shlex.join(command))}
environment={environment}
autostart=false
autorestart=false
startsecs=0
startretries=0
stopwaitsecs={int(service.grace) + 10}
redirect_stderr=true
stdout_logfile={_plain(layout.logs / service.name)}.log
stdout_logfile_maxbytes={LOG_BYTES}
stdout_logfile_backups={LOG_BACKUPS}
"""


def _plain(value: object) -> str:
    """supervisord expands percent signs and takes a semicolon after a blank for a comment."""
    text = str(value)
    if "\n" in text or " ;" in text:
        message = f"supervisord's configuration cannot hold {text!r}"
        raise OpsError(message, code="path_unusable")
    return text.replace("%", "%%")
