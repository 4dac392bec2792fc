"""Which configuration is served, and what survives."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from gateway_hooks.contract.snapshot import encode_snapshot
from gateway_hooks.snapshot_store import SnapshotStore, write_atomically
from tests.gateway_hooks.world import NOW, snapshot


def store(folder: Path) -> SnapshotStore:
    return SnapshotStore(path=folder / "snapshot.json", clock=lambda: NOW)


def raw(version: int, *, later: int = 0) -> bytes:
    made = snapshot(version, [], [])
    moved = made.published_at + timedelta(seconds=later)
    return encode_snapshot(msgspec.structs.replace(made, published_at=moved))


def test_a_newer_snapshot_is_served_and_saved(tmp_path: Path):
    serving = store(tmp_path)

    assert serving.offer(raw(1))
    assert serving.offer(raw(2))
    serving.save()

    assert (serving.version, serving.source, serving.loaded_at) == (2, "redis", NOW)
    assert (tmp_path / "snapshot.json").read_bytes() == raw(2)
    assert serving.changed.is_set()


def test_the_same_and_an_older_one_change_nothing(tmp_path: Path):
    serving = store(tmp_path)
    serving.offer(raw(5))

    assert not serving.offer(raw(5))
    assert not serving.offer(raw(4))

    assert serving.version == 5


def test_a_lower_version_published_later_is_a_new_beginning(tmp_path: Path):
    serving = store(tmp_path)
    serving.offer(raw(50))

    assert serving.offer(raw(1, later=1000))

    assert serving.version == 1


@pytest.mark.parametrize("broken", [b"", b"{", b'{"version":9}', b"\x00" * 10])
def test_a_broken_snapshot_never_replaces_a_good_one(tmp_path: Path, broken: bytes):
    serving = store(tmp_path)
    serving.offer(raw(1))

    assert not serving.offer(broken)

    assert serving.version == 1


def test_a_restart_serves_the_last_good_one_from_disk(tmp_path: Path):
    write_atomically(tmp_path / "snapshot.json", raw(7))
    started_again = store(tmp_path)

    started_again.load_disk()

    assert (started_again.version, started_again.source) == (7, "disk")
    assert not started_again.offer(raw(7))
    assert started_again.source == "redis"


@pytest.mark.parametrize("content", [None, b"{"])
def test_without_a_usable_file_nothing_is_served(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "snapshot.json").write_bytes(content)
    starting = store(tmp_path)

    starting.load_disk()

    assert (starting.current, starting.version, starting.source) == (None, 0, "none")


def test_writing_leaves_no_other_file_behind(tmp_path: Path):
    write_atomically(tmp_path / "deep" / "file", b"1")
    write_atomically(tmp_path / "deep" / "file", b"2")

    assert [(path.name, path.read_bytes()) for path in (tmp_path / "deep").iterdir()] == [("file", b"2")]
