"""Ships the outbox: every line at least once, remembered on disk only after the receiver has it.

What is killed between sending and remembering is sent again; the receiver knows an event by its id. Boots
that are over are shipped first and their folders removed.
"""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from inference.boot import write_atomically
from inference.outbox import SUFFIX, segments

log = logging.getLogger(__name__)

BATCH_LINES = 500
READ_BYTES = 1 << 20
POSITION_FILE = "shipped.json"

Send = Callable[[Sequence[bytes]], None]
"""Returns when the receiver has all the lines; raises otherwise."""


class Position(msgspec.Struct, frozen=True):
    """Everything before byte ``offset`` of ``segment`` has been received."""

    segment: str = ""
    offset: int = 0


def ship(root: Path, send: Send, *, live_boot: str | None) -> int:
    """Ship what there is of all boots below ``root``, then return how many lines that was.

    ``live_boot`` is still being written: its torn last line will be completed, its newest segment stays.
    Whatever ``send`` raises goes through; nothing is lost by it. A boot whose files make trouble does not
    hold up the others: its ``OSError`` is raised after them.
    """
    shipped = 0
    failed: OSError | None = None
    boots = sorted(path for path in root.iterdir() if path.is_dir()) if root.exists() else []
    for folder in boots:
        live = folder.name == live_boot
        try:
            shipped += _ship_boot(folder, send, live=live)
            if not live:
                shutil.rmtree(folder)
        except OSError as error:
            failed = error
    if failed is not None:
        raise failed
    return shipped


def _ship_boot(folder: Path, send: Send, *, live: bool) -> int:
    shipped = 0
    position = _read_position(folder)
    names = [path.name for path in segments(folder) if path.name >= position.segment]
    for name in names:
        offset = position.offset if name == position.segment else 0
        last = name == names[-1]
        lines, offset = _ship_segment(folder, name, offset, send)
        shipped += lines
        if not (live and last):
            _report_torn_line(folder / name, offset)
            (folder / name).unlink()
    return shipped


def _ship_segment(folder: Path, name: str, offset: int, send: Send) -> tuple[int, int]:
    """(lines shipped, offset reached)."""
    shipped = 0
    with (folder / name).open("rb") as file:
        while batch := _next_lines(file.read, file.seek, offset):
            if not shipped:
                # Can it be remembered at all? A full disk must not send the same lines again and again.
                _remember(folder, Position(name, offset))
            send([line.rstrip(b"\n") for line in batch])
            offset += sum(len(line) for line in batch)
            shipped += len(batch)
            _remember(folder, Position(name, offset))
    return shipped, offset


def _next_lines(read: Callable[[int], bytes], seek: Callable[[int], int], offset: int) -> list[bytes]:
    """Up to ``BATCH_LINES`` whole lines from ``offset``, newlines kept."""
    seek(offset)
    chunk = read(READ_BYTES)
    whole, newline, _ = chunk.rpartition(b"\n")
    return (whole + newline).splitlines(keepends=True)[:BATCH_LINES]


def _remember(folder: Path, position: Position) -> None:
    write_atomically(folder / POSITION_FILE, msgspec.json.encode(position))


def _read_position(folder: Path) -> Position:
    try:
        return msgspec.json.decode((folder / POSITION_FILE).read_bytes(), type=Position)
    except FileNotFoundError:
        return Position()
    except msgspec.DecodeError as error:
        log.warning("%s of boot %s is damaged (%s): sending again", POSITION_FILE, folder.name, error)
        return Position()


def _report_torn_line(path: Path, offset: int) -> None:
    torn = path.stat().st_size - offset
    if torn:
        log.warning("%s%s ends in %d bytes of a line torn by a crash; dropped", path.stem, SUFFIX, torn)
