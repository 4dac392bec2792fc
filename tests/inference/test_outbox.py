import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from inference.outbox import Outbox, segments, stored_bytes
from inference.shipper import ship


class Receiver:
    """Keeps what it is sent; refuses the next ``failures`` batches."""

    def __init__(self, *, failures: int = 0) -> None:
        self.lines: list[bytes] = []
        self.failures = failures

    def __call__(self, lines: Sequence[bytes]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError
        self.lines += lines


Make = Callable[..., Outbox]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Make]:
    """A factory of outboxes below ``tmp_path``; all are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(boot: str = "boot", **changes: int) -> Outbox:
            box = Outbox(tmp_path / boot, **{"max_bytes": 1 << 20, **changes})
            stack.callback(box.close)
            return box

        yield make


def test_what_was_appended_is_shipped_in_order_once_and_the_live_segment_stays(
    tmp_path: Path, outbox: Make
) -> None:
    box, receiver = outbox(), Receiver()
    box.append([b"1", b"2"])
    box.append([b"3"])

    first = ship(tmp_path, receiver, live_boot="boot")
    again = ship(tmp_path, receiver, live_boot="boot")

    assert (first, again, receiver.lines) == (3, 0, [b"1", b"2", b"3"])
    assert len(segments(tmp_path / "boot")) == 1


def test_full_segments_are_removed_once_they_are_received(tmp_path: Path, outbox: Make) -> None:
    box, receiver = outbox(segment_bytes=10), Receiver()
    for number in range(10):
        box.append([b"line-%d" % number])

    ship(tmp_path, receiver, live_boot="boot")

    assert receiver.lines == [b"line-%d" % number for number in range(10)]
    assert [path.stem for path in segments(tmp_path / "boot")] == ["00000005"]


def test_a_batch_that_was_not_received_is_sent_again(tmp_path: Path, outbox: Make) -> None:
    box, receiver = outbox(), Receiver(failures=1)
    box.append([b"1"])

    with pytest.raises(ConnectionError):
        ship(tmp_path, receiver, live_boot="boot")
    ship(tmp_path, receiver, live_boot="boot")

    assert receiver.lines == [b"1"]


def test_a_torn_line_of_a_live_boot_is_waited_for_and_of_a_dead_boot_dropped(
    tmp_path: Path, outbox: Make, caplog: pytest.LogCaptureFixture
) -> None:
    outbox().append([b"whole"])
    with segments(tmp_path / "boot")[0].open("ab") as file:
        file.write(b"to")
    alive, dead = Receiver(), Receiver()

    ship(tmp_path, alive, live_boot="boot")
    with segments(tmp_path / "boot")[0].open("ab") as file:
        file.write(b"rn\nag")
    ship(tmp_path, alive, live_boot="boot")
    with caplog.at_level(logging.WARNING):
        ship(tmp_path, dead, live_boot="another")

    assert alive.lines == [b"whole", b"torn"]
    assert dead.lines == []
    assert "torn by a crash" in caplog.text
    assert not (tmp_path / "boot").exists()


def test_earlier_boots_are_shipped_and_their_folders_removed(tmp_path: Path, outbox: Make) -> None:
    outbox("old").append([b"old"])
    outbox("new").append([b"new"])
    receiver = Receiver()

    ship(tmp_path, receiver, live_boot="new")

    assert sorted(receiver.lines) == [b"new", b"old"]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_reopened_outbox_goes_on_in_a_new_segment(tmp_path: Path, outbox: Make) -> None:
    outbox().append([b"1"])
    outbox().append([b"2"])
    receiver = Receiver()

    ship(tmp_path, receiver, live_boot="boot")

    assert receiver.lines == [b"1", b"2"]


def test_the_bound_warns_at_half_and_drops_loudly_when_full(
    tmp_path: Path, outbox: Make, caplog: pytest.LogCaptureFixture
) -> None:
    box = outbox(max_bytes=100)

    box.append([b"x" * 59])
    box.append([b"y" * 59])

    assert stored_bytes(tmp_path) == 60
    assert box.dropped == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "CRITICAL"]


def test_room_that_shipping_made_is_used_again(tmp_path: Path, outbox: Make) -> None:
    box, receiver = outbox(max_bytes=200, segment_bytes=50), Receiver()
    for number in range(20):
        box.append([b"%d" % number * 20])
        ship(tmp_path, receiver, live_boot="boot")

    assert len(receiver.lines) == 20
    assert box.dropped == 0
