"""The store: an artifact is there, complete and unchangeable, or not at all."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway_hooks.contract.artifacts import FILES, artifact_digest
from portal.adapters.errors import AdapterError
from portal.adapters.store import ABANDONED_AFTER, Store
from tests.factories import safetensors_bytes, write_adapter
from tests.services import wait_until


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("[!.]*"))


def keep(root: Path, *, fill: int = 0) -> str:
    store = Store(root)
    with store.staging() as staged:
        write_adapter(staged, weights=safetensors_bytes(fill=fill))
        return store.keep(staged)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "store"
    folder.mkdir()
    yield folder
    for path in folder.glob("[!.]*"):
        path.chmod(0o755)


def test_an_artifact_lies_under_its_contents_digest_and_is_read_only(root: Path) -> None:
    digest = keep(root)

    assert visible(root) == [digest]
    assert artifact_digest(root / digest) == digest
    assert stat.S_IMODE((root / digest).stat().st_mode) == 0o555
    assert {stat.S_IMODE((root / digest / name).stat().st_mode) for name in FILES} == {0o444}


def test_the_same_content_twice_is_one_artifact(root: Path) -> None:
    assert keep(root) == keep(root)

    assert len(visible(root)) == 1
    assert list((root / ".incoming").iterdir()) == []


def test_other_content_is_another_artifact(root: Path) -> None:
    assert keep(root) != keep(root, fill=1)


def test_a_damaged_artifact_is_reported_and_not_served_as_the_new_one(root: Path) -> None:
    digest = keep(root)
    weights = root / digest / FILES[1]
    weights.chmod(0o644)
    weights.write_bytes(b"damaged")

    with pytest.raises(AdapterError) as refused:
        keep(root)

    assert refused.value.code == "adapter_store_damaged"


def test_what_failed_leaves_nothing(root: Path) -> None:
    def fail() -> None:
        with Store(root).staging() as staged:
            write_adapter(staged)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()

    assert visible(root) == []
    assert list((root / ".incoming").iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from portal.adapters.store import Store
from tests.factories import safetensors_bytes, write_adapter

root, number = Path(sys.argv[1]), int(sys.argv[2])
store = Store(root)
while True:
    with store.staging() as staged:
        weights = safetensors_bytes({"w": (300, 300)}) + number.to_bytes(8, "little")
        write_adapter(staged, weights=weights)
        store.keep(staged)
    number += 1
"""


def kill_a_writer(root: Path, attempt: int) -> None:
    """Start a writer, let it store a few artifacts more than the last one, and kill it."""
    enough = len(visible(root)) + attempt
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    code = f"import django; django.setup()\n{WRITER}"
    command = [sys.executable, "-c", code, str(root), str(attempt * 1_000_000)]
    with subprocess.Popen(command, env=environment) as writer:
        wait_until(lambda: len(visible(root)) > enough, seconds=30, what="the writer at work")
        writer.send_signal(signal.SIGKILL)


def test_a_writer_that_is_killed_leaves_only_whole_artifacts(root: Path) -> None:
    """Killed ten times at moments that differ; every folder that can be seen is complete."""
    for attempt in range(10):
        kill_a_writer(root, attempt)

    names = visible(root)

    assert names
    assert [artifact_digest(root / name) for name in names] == names


def test_what_killed_writers_left_is_swept_after_a_day(root: Path) -> None:
    left = root / ".incoming" / "abc"
    write_adapter(left)
    now = datetime.fromtimestamp(left.stat().st_mtime, UTC)

    early = Store(root).sweep(now + ABANDONED_AFTER - timedelta(seconds=1))
    late = Store(root).sweep(now + ABANDONED_AFTER + timedelta(seconds=1))

    assert (early, late) == (0, 1)
    assert not left.exists()
