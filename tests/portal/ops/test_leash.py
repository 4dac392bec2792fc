"""The leash: nothing that it runs outlives it, its parent, or its owner."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from portal.ops.leash import leash_command
from tests.services import wait_until

ORPHANING = """
import os, pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        pathlib.Path(sys.argv[1], "grandchild").write_text(str(os.getpid()))
        signal.pause()
    os._exit(0)
os.wait()
pathlib.Path(sys.argv[1], "child").write_text(str(os.getpid()))
while True:
    signal.pause()
"""
PARENT = """
import pathlib, subprocess, sys
leash = subprocess.Popen(sys.argv[2:])
pathlib.Path(sys.argv[1], "leash").write_text(str(leash.pid))
leash.wait()
"""


@pytest.fixture
def strays() -> Iterator[list[int]]:
    """Ids of processes that must not be there after the test, whatever it finds."""
    found: list[int] = []
    yield found
    for pid in found:
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_in(folder: Path, name: str) -> int:
    file = folder / name
    wait_until(lambda: file.exists() and file.read_text() != "", seconds=20, what=f"start of {name}")
    return int(file.read_text())


def test_when_the_parent_is_killed_no_descendant_survives(tmp_path: Path, strays: list[int]) -> None:
    orphaning = [sys.executable, "-c", ORPHANING, str(tmp_path)]
    leash = leash_command(orphaning, owner=os.getpid(), grace=0.5)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), *leash])
    family = [pid_in(tmp_path, name) for name in ("child", "grandchild", "leash")]
    strays += family
    assert all(alive(pid) for pid in family)

    parent.kill()
    parent.wait()

    wait_until(lambda: not any(alive(pid) for pid in family), seconds=20, what="end of the family")


def test_without_the_leash_the_grandchild_survives(tmp_path: Path, strays: list[int]) -> None:
    """What the leash is for: the same family, and nobody who ends it."""
    orphaning = [sys.executable, "-c", ORPHANING, str(tmp_path)]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), *orphaning])
    family = [pid_in(tmp_path, name) for name in ("child", "grandchild")]
    strays += family

    parent.kill()
    parent.wait()

    assert all(alive(pid) for pid in family)


def test_when_the_owner_ends_the_command_ends(tmp_path: Path, strays: list[int]) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    orphaning = [sys.executable, "-c", ORPHANING, str(tmp_path)]
    leash = subprocess.Popen(leash_command(orphaning, owner=owner.pid, grace=0.5))
    family = [pid_in(tmp_path, name) for name in ("child", "grandchild")]
    strays += [*family, leash.pid]

    owner.kill()
    owner.wait()

    leash.wait(20)
    assert not any(alive(pid) for pid in family)


def test_nothing_starts_for_an_owner_that_is_gone(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", ""])
    owner.wait()
    touch = [sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')"]

    status = subprocess.run(leash_command(touch, owner=owner.pid), check=False).returncode

    assert status == 125
    assert not (tmp_path / "ran").exists()


def test_the_command_gets_its_stop_signal_and_its_status_comes_back(tmp_path: Path) -> None:
    polite = (
        "import pathlib, signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(7))\n"
        "pathlib.Path(sys.argv[1], 'child').write_text('1')\n"
        "signal.pause()\n"
    )
    command = leash_command(
        [sys.executable, "-c", polite, str(tmp_path)], owner=os.getpid(), stop_signal=signal.SIGINT
    )
    leash = subprocess.Popen(command)
    pid_in(tmp_path, "child")

    leash.terminate()

    assert leash.wait(20) == 7


def test_a_command_killed_by_a_signal_is_told_as_the_shell_tells_it() -> None:
    suicide = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]

    status = subprocess.run(leash_command(suicide, owner=os.getpid()), check=False).returncode

    assert status == 128 + 9
