"""Which configuration is served, and what survives."""

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from gateway_hooks.contract import keys
from gateway_hooks.contract.snapshot import encode_snapshot
from gateway_hooks.contract.snapshot_delta import SnapshotDelta, TenantPart, encode_delta
from gateway_hooks.snapshot_store import SnapshotStore, _Unsaved, catch_up, write_atomically
from tests.gateway_hooks.processes import OwnRedis
from tests.gateway_hooks.world import NOW, api_key, snapshot, tenant


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


def delta(base: int, version: int, **parts: TenantPart) -> bytes:
    return encode_delta(
        SnapshotDelta(
            version=version,
            base=base,
            published_at=NOW + timedelta(seconds=version),
            base_published_at=NOW + timedelta(seconds=base),
            tenants=parts,
        )
    )


def full(version: int, names: str) -> bytes:
    tenants = [tenant(name, {}) for name in names]
    return encode_snapshot(snapshot(version, tenants, [api_key(entry.id)[0] for entry in tenants]))


def gone(name: str) -> dict[str, TenantPart]:
    return {f"tenant-{name}": TenantPart()}


def test_a_delta_changes_one_tenant_and_leaves_the_others(tmp_path: Path):
    serving = store(tmp_path)
    serving.offer(full(1, "ab"))
    key, _ = api_key("tenant-a")
    part = TenantPart(tenant=tenant("a", {}, status="suspended"), keys={key.id: key})

    assert serving.offer_deltas([delta(1, 2, **{"tenant-a": part})])

    assert serving.version == 2
    assert serving.current.tenants["tenant-a"].status == "suspended"
    assert {entry.tenant_id for entry in serving.current.keys.values()} == {"tenant-a", "tenant-b"}
    assert key.id in serving.current.keys
    assert len(serving.current.keys) == 2


def test_a_delta_of_another_line_changes_nothing(tmp_path: Path):
    serving = store(tmp_path)
    serving.offer(full(3, "ab"))

    assert not serving.offer_deltas([delta(1, 2, **gone("a")), delta(5, 6, **gone("b")), b"{"])

    assert (serving.version, len(serving.current.tenants)) == (3, 2)


def test_a_restart_follows_the_deltas_on_disk_however_often_they_stand_there(tmp_path: Path):
    for _process in range(2):
        serving = store(tmp_path)
        serving.offer(full(1, "abc"))
    serving.save()
    for _process in range(2):
        twin = store(tmp_path)
        twin.offer(full(1, "abc"))
        twin._unsaved = _Unsaved()
        twin.offer_deltas([delta(1, 2, **gone("a")), delta(2, 3, **gone("b"))])
        twin.save()
    with (tmp_path / "snapshot.deltas").open("ab") as file:
        file.write(delta(3, 4)[:20])
    started_again = store(tmp_path)

    started_again.load_disk()

    assert (started_again.version, list(started_again.current.tenants)) == (3, ["tenant-c"])


def test_a_whole_snapshot_takes_the_place_of_the_deltas_on_disk(tmp_path: Path):
    serving = store(tmp_path)
    serving.offer(full(1, "ab"))
    serving.offer_deltas([delta(1, 2, **gone("a"))])
    serving.save()
    serving.offer(full(3, "ab"))
    serving.save()

    started_again = store(tmp_path)
    started_again.load_disk()

    assert (started_again.version, len(started_again.current.tenants)) == (3, 2)
    assert not (tmp_path / "snapshot.deltas").exists()


def test_what_redis_holds_is_followed_by_deltas_and_otherwise_fetched_whole(tmp_path: Path):
    own = OwnRedis(tmp_path)
    own.start()
    try:
        asyncio.run(_catching_up(own.url, tmp_path))
    finally:
        own.kill()


async def _catching_up(url: str, folder: Path) -> None:
    async with Redis.from_url(url) as client:
        await client.set(keys.SNAPSHOT, full(1, "abc"))
        serving = store(folder)
        assert await catch_up(serving, client)
        await client.zadd(keys.SNAPSHOT_DELTAS, {delta(1, 2, **gone("a")): 2, delta(2, 3, **gone("b")): 3})
        await client.set(keys.SNAPSHOT_NEWEST, 3)

        assert await catch_up(serving, client)
        late = store(folder / "late")
        assert await catch_up(late, client)

        for caught_up in (serving, late):
            assert (caught_up.version, list(caught_up.current.tenants)) == (3, ["tenant-c"])
        assert not await catch_up(serving, client)
        serving.save()
        restarted = store(folder)
        restarted.load_disk()
        assert not await catch_up(restarted, client)
        assert (restarted.version, restarted.source) == (3, "redis")
