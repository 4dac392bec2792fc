"""Bytes that older processes wrote must keep parsing, to the same meaning.

A golden file is never changed. A new schema version adds files and leaves these. To add one:
``python -m tests.contract.test_golden``.
"""

from pathlib import Path

import msgspec
import pytest

from gateway_hooks.contract.fleet import decode_gateway, decode_worker, encode_record
from gateway_hooks.contract.snapshot import SnapshotError, decode_snapshot, encode_snapshot
from gateway_hooks.contract.usage import UsageEventError, decode_event, encode_event
from tests.contract.samples import (
    ENGINE_EVENT_2,
    GATEWAY,
    GATEWAY_EVENT_2,
    INTERVAL_2,
    OLD_SAMPLES,
    SAMPLES,
    SNAPSHOT_2,
    WORKER,
)

EVERY = OLD_SAMPLES | SAMPLES
GOLDEN = Path(__file__).parent / "golden"


def write_missing() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, sample in SAMPLES.items():
        path = GOLDEN / f"{name}.json"
        if not path.exists():
            path.write_bytes(msgspec.json.format(msgspec.json.encode(sample)) + b"\n")


@pytest.mark.parametrize("name", EVERY)
def test_golden_json_still_means_what_it_meant(name: str):
    raw = (GOLDEN / f"{name}.json").read_bytes()

    parsed = msgspec.json.decode(raw, type=type(EVERY[name]))

    assert parsed == EVERY[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_golden_json_has_every_field_that_is_written_today(name: str):
    golden = msgspec.json.decode((GOLDEN / f"{name}.json").read_bytes())

    written = msgspec.json.decode(msgspec.json.encode(SAMPLES[name]))

    assert written == golden


@pytest.mark.parametrize("name", SAMPLES)
def test_a_field_of_a_later_minor_version_is_ignored(name: str):
    golden = msgspec.json.decode((GOLDEN / f"{name}.json").read_bytes())

    parsed = msgspec.convert({**golden, "of_tomorrow": 1}, type(SAMPLES[name]))

    assert parsed == SAMPLES[name]


@pytest.mark.parametrize(
    "event", [GATEWAY_EVENT_2, ENGINE_EVENT_2, INTERVAL_2], ids=lambda event: type(event).__name__
)
def test_an_event_comes_back_as_its_own_kind(event):
    assert decode_event(encode_event(event)) == event


def test_a_snapshot_and_the_records_come_back_as_they_were():
    assert decode_snapshot(encode_snapshot(SNAPSHOT_2)) == SNAPSHOT_2
    assert decode_worker(encode_record(WORKER)) == WORKER
    assert decode_gateway(encode_record(GATEWAY)) == GATEWAY


def test_equal_snapshots_give_equal_bytes_whatever_the_order():
    twin = msgspec.structs.replace(SNAPSHOT_2, pools=dict(reversed(list(SNAPSHOT_2.pools.items()))))

    assert encode_snapshot(twin) == encode_snapshot(SNAPSHOT_2)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b'{"version": "x"}', b"\xff"])
def test_what_is_no_snapshot_or_event_is_refused_by_its_own_error(raw: bytes):
    with pytest.raises(SnapshotError):
        decode_snapshot(raw)
    with pytest.raises(UsageEventError):
        decode_event(raw)


def test_a_newer_schema_is_refused_and_not_guessed_at():
    newer = msgspec.structs.replace(SNAPSHOT_2, schema_version=3)
    event = msgspec.structs.replace(GATEWAY_EVENT_2, schema_version=3)

    with pytest.raises(SnapshotError, match="newer"):
        decode_snapshot(encode_snapshot(newer))
    with pytest.raises(UsageEventError, match="newer"):
        decode_event(encode_event(event))


if __name__ == "__main__":
    write_missing()
