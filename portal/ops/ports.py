"""Ports: which are free, who holds one that is not, and which ones the embedded servers had last time."""

import errno
import json
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from portal.ops.embedded import HOST, free_port
from portal.ops.errors import OpsError
from portal.ops.layout import write_private


class PortTakenError(OpsError):
    """Another process listens on a port that is needed."""

    code = "port_taken"


@dataclass(frozen=True)
class Wanted:
    """A port, what listens on it, and the option that changes it."""

    service: str
    host: str
    port: int
    option: str


def is_free(host: str, port: int) -> bool:
    """Whether this process could listen there. Other errors (no such address) are raised."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    return True


def require_free(wanted: list[Wanted]) -> None:
    """Raise ``PortTakenError`` that names every port of ``wanted`` that is taken."""
    lines = [_complaint(one) for one in wanted if not _listenable(one)]
    numbers = [one.port for one in wanted]
    lines += [
        f"{one.service} needs a port of its own: {one.port} is given twice; change it with {one.option}."
        for index, one in enumerate(wanted)
        if one.port in numbers[:index]
    ]
    if lines:
        raise PortTakenError("\n".join(lines))


def _listenable(one: Wanted) -> bool:
    try:
        return is_free(one.host, one.port)
    except (OSError, OverflowError) as error:
        message = (
            f"{one.service} cannot listen on {one.host}:{one.port}: {error}. See {one.option} and --host."
        )
        raise OpsError(message, code="port_unusable") from error


def _complaint(one: Wanted) -> str:
    holder = holder_of(one.port)
    by = f" by {holder}" if holder else ""
    return f"{one.service} needs port {one.port}, which is taken{by}. Choose another with {one.option} PORT."


def holder_of(port: int) -> str | None:
    """Name and id of the process that listens on ``port``, where this user may know it."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return None
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN
        if listens and connection.pid and connection.laddr and connection.laddr.port == port:
            try:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.Error:
                return f"process {connection.pid}"
    return None


def embedded_port(memory: Path, service: str, *, asked: int | None) -> int:
    """``asked``, else the port of the last time if it is free, else a free one, which is remembered."""
    if asked is not None:
        require_free([Wanted(service, HOST, asked, f"--{service}-port")])
        return asked
    known = _remembered(memory)
    port = known.get(service)
    if port is None or not is_free(HOST, port):
        port = free_port()
        write_private(memory, json.dumps({**known, service: port}))
    return port


def _remembered(memory: Path) -> dict[str, int]:
    try:
        known: dict[str, int] = json.loads(memory.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return known
