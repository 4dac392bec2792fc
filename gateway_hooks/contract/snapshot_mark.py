"""Which configuration Redis holds: its version and the moment of its publication.

The number alone does not tell: versions start again after the portal's database came back from a backup.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from gateway_hooks.contract.snapshot import Snapshot, version_at_head


class Mark(NamedTuple):
    """``published_at`` None: a portal that knew no deltas did not say it."""

    version: int
    published_at: datetime | None

    def __str__(self) -> str:
        moment = self.published_at
        return f"{self.version} {moment.astimezone(UTC).isoformat()}" if moment else str(self.version)


def mark_of(snapshot: Snapshot) -> Mark:
    return Mark(snapshot.version, snapshot.published_at)


def held_mark(newest: bytes | None, head: bytes | None) -> Mark | None:
    """From what ``SNAPSHOT_NEWEST`` and the head of ``SNAPSHOT`` say; None without a snapshot."""
    whole = version_at_head(head or b"")
    if whole is None:
        return None
    version, _, moment = (newest or b"").decode().partition(" ")
    if not version.isdecimal():
        return Mark(whole, None)
    return Mark(int(version), datetime.fromisoformat(moment) if moment else None)
