"""What a start finds on disk, whatever went wrong while it was written."""

import asyncio
import errno
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import encode_snapshot
from gateway_hooks.contract.snapshot_mark import Mark, held_mark, mark_of
from gateway_hooks.snapshot_store import MAX_DELTAS, SnapshotStore, catch_up
from tests.gateway_hooks.processes import OwnRedis
from tests.gateway_hooks.test_snapshot_store import delta, full, gone, raw, store
from tests.gateway_hooks.world import NOW, snapshot


def restarted(folder: Path) -> SnapshotStore:
    started_again = store(folder)
    started_again.load_disk()
    return started_again


def serving(folder: Path, names: str = "abcd") -> SnapshotStore:
    made = store(folder)
    made.offer(full(1, names))
    made.save()
    return made


def test_a_write_that_failed_leaves_no_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = serving(tmp_path)
    made.offer_deltas([delta(1, 2, **gone("a"))])

    def full_disk(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as failing:
        failing.setattr("gateway_hooks.snapshot_disk.os.fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            made.save()
    assert not made.is_saved
    made.offer_deltas([delta(2, 3, **gone("b"))])
    made.save()
    made.offer_deltas([delta(3, 4, **gone("c"))])
    made.save()

    assert made.is_saved
    again = restarted(tmp_path)
    assert (again.version, list(again.current.tenants)) == (4, ["tenant-d"])


def test_after_many_deltas_the_whole_is_written_anew(tmp_path: Path):
    made = serving(tmp_path)
    sizes = []

    for version in range(2, 2 * MAX_DELTAS + 10):
        made.offer_deltas([delta(version - 1, version, **gone("a"))])
        made.save()
        path = tmp_path / "snapshot.deltas"
        sizes.append(path.stat().st_size if path.exists() else 0)

    assert max(sizes) < (MAX_DELTAS + 1) * 300
    again = restarted(tmp_path)
    assert mark_of(again.current) == mark_of(made.current)
    assert sorted(again.current.tenants) == ["tenant-b", "tenant-c", "tenant-d"]


def test_a_process_that_is_behind_takes_nothing_back(tmp_path: Path):
    ahead, behind = serving(tmp_path), serving(tmp_path)
    ahead.offer_deltas([delta(1, 2, **gone("a")), delta(2, 3, **gone("b"))])
    ahead.save()
    behind._appended = MAX_DELTAS
    behind.offer_deltas([delta(1, 2, **gone("a"))])
    behind.save()
    assert restarted(tmp_path).version == 3

    ahead.offer_deltas([delta(3, 4, **gone("c"))])
    ahead.save()

    assert restarted(tmp_path).version == 4


def test_a_line_that_begins_again_replaces_a_higher_version(tmp_path: Path):
    made = store(tmp_path)
    made.offer(raw(50))
    made.save()
    made.offer(raw(1, later=1000))
    made.save()

    assert restarted(tmp_path).version == 1


def test_a_torn_line_spoils_only_itself(tmp_path: Path):
    made, twin = serving(tmp_path), serving(tmp_path)
    with (tmp_path / "snapshot.deltas").open("ab") as file:
        file.write(delta(1, 2, **gone("a"))[:30])
    twin.offer_deltas([delta(1, 2, **gone("a"))])
    twin.save()

    assert made.version == 1
    assert restarted(tmp_path).version == 2


@pytest.mark.parametrize(
    ("newest", "head", "mark"),
    [
        (None, b"", None),
        (b"3", b"", None),
        (None, b'{"version":7,"pu', Mark(7, None)),
        (b"9", b'{"version":7,"pu', Mark(9, None)),
        (str(Mark(9, NOW)).encode(), b'{"version":7,"pu', Mark(9, NOW)),
    ],
)
def test_what_redis_holds_is_read_from_its_mark_or_else_the_head(
    newest: bytes | None, head: bytes, mark: Mark | None
):
    assert held_mark(newest, head) == mark


def test_the_same_number_of_another_line_is_fetched(tmp_path: Path):
    own = OwnRedis(tmp_path)
    own.start()
    try:
        asyncio.run(_another_line(own.url, tmp_path))
    finally:
        own.kill()


async def _another_line(url: str, folder: Path) -> None:
    made = store(folder)
    first = snapshot(1, [], [])
    later = msgspec.structs.replace(first, published_at=NOW.replace(year=NOW.year + 1))
    async with Redis.from_url(url) as client:
        for current in (first, later):
            await client.set(keys.SNAPSHOT, encode_snapshot(current))
            await client.set(keys.SNAPSHOT_NEWEST, str(mark_of(current)))

            assert await catch_up(made, client)
            assert not await catch_up(made, client)

    assert made.current == later
