"""Several processes count into one answer, and nothing counted is lost with a process."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway_hooks.metrics.metrics import Metrics
from tests.gateway_hooks.metrics.conftest import Read

ROOT = Path(__file__).resolve().parents[3]
REQUESTS = {"tenant": "acme", "endpoint": "chat.completions", "outcome": "completed", "reason": "none"}


@contextmanager
def counted(folder: Path, process_id: str, count: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has counted and lives until the block ends."""
    command = [
        sys.executable,
        "-m",
        "tests.gateway_hooks.metrics.counting",
        str(folder),
        process_id,
        str(count),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"counted\n"
            yield process
        finally:
            process.kill()


def test_living_processes_add_up(metrics: Metrics, read: Read, tmp_path: Path):
    assert metrics.render() is not None
    with counted(tmp_path, "one", 3), counted(tmp_path, "two", 4):
        assert read("requests_total", **REQUESTS) == 7
        assert read("redis_failures_total") == 2
        assert read("in_flight", pool="pool-1") == 7
        assert read("snapshot_version") == 0  # this process has none: the oldest in force


@pytest.mark.parametrize("renders_between", [False, True])
def test_the_dead_keep_their_counts_and_lose_their_gauges(
    metrics: Metrics, read: Read, tmp_path: Path, *, renders_between: bool
):
    with counted(tmp_path, "one", 3):
        if renders_between:
            metrics.render()
    with counted(tmp_path, "two", 4):
        pass

    assert read("requests_total", **REQUESTS) == 7
    assert read("request_duration_seconds_count", endpoint="chat.completions") == 7
    assert read("in_flight", pool="pool-1") is None
    left = {path.name for path in tmp_path.iterdir() if "one" in path.name or "two" in path.name}
    assert not left


def test_a_process_that_comes_back_under_its_old_name_counts_on(metrics: Metrics, read: Read, tmp_path: Path):
    for _ in range(2):
        with counted(tmp_path, "one", 3):
            metrics.render()

    assert read("requests_total", **REQUESTS) == 6
