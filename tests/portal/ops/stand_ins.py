"""Small programs that stand in for the product's services, to try the machinery that runs them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from portal.ops.conductor import Asked, Conductor
from portal.ops.layout import Layout
from portal.ops.services import Service
from portal.ops.supervision import Supervision
from portal.ops.terminal import Terminal
from tests.services import wait_until

NOTES_ITS_START = """
import os, pathlib, signal, sys
with pathlib.Path(sys.argv[1]).open("a") as file:
    file.write(f"{os.getpid()}\\n")
signal.pause()
"""
CANNOT_START = "import sys; print('the stand-in has no licence'); sys.exit(3)"


def program(folder: Path, name: str, text: str) -> tuple[str, ...]:
    file = folder / f"{name}.py"
    file.write_text(text)
    return (sys.executable, str(file), str(folder / f"{name}.starts"))


def steady(folder: Path, name: str) -> Service:
    """A stand-in that notes its process id at each start and waits to be ended."""
    command = program(folder, name, NOTES_ITS_START)
    return Service(name=name, command=command, ready=lambda: starts(folder, name) != [], patience=30, grace=2)


def broken(folder: Path, name: str) -> Service:
    """A stand-in that ends at once."""
    command = program(folder, name, CANNOT_START)
    return Service(name=name, command=command, ready=lambda: False, patience=30, grace=2)


def starts(folder: Path, name: str) -> list[int]:
    """The process ids of all starts of a stand-in so far."""
    file = folder / f"{name}.starts"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@dataclass
class Stage:
    conductor: Conductor
    supervision: Supervision
    asked: Asked
    output: StringIO
    layout: Layout


@contextmanager
def staged(folder: Path, *services: Service) -> Iterator[Stage]:
    """A conductor over the given services, with a supervisord of its own."""
    layout = Layout.of(folder / "data")
    layout.prepare()
    output = StringIO()
    asked = Asked()
    supervision = Supervision(layout, services, dict(os.environ))
    supervision.start()
    try:
        wait_until(supervision.answers, seconds=30, what="start of supervisord")
        conductor = Conductor(supervision, Terminal(output), logs=layout.logs, asked=asked)
        yield Stage(conductor, supervision, asked, output, layout)
    finally:
        supervision.end()
