"""The stretch of time that a page speaks of, cut into buckets. Pure; everything is UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A window that the reader can choose: ``count`` buckets, the last of which is still filling."""

    key: str
    label: str
    words: str
    bucket: timedelta
    count: int
    tick: str


CHOICES: Mapping[str, Choice] = {
    choice.key: choice
    for choice in (
        Choice(key="1h", label="1 h", words="last hour", bucket=timedelta(minutes=1), count=60, tick="%H:%M"),
        Choice(
            key="24h", label="24 h", words="last 24 hours", bucket=timedelta(hours=1), count=24, tick="%H:%M"
        ),
        Choice(
            key="30d", label="30 d", words="last 30 days", bucket=timedelta(days=1), count=30, tick="%d %b"
        ),
    )
}
DEFAULT = "24h"


@dataclass(frozen=True)
class Span:
    """``[start, end)``."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Window:
    """``current`` begins on a bucket's edge; ``previous`` is as long and as far into its last bucket."""

    choice: Choice
    current: Span
    previous: Span

    def buckets(self) -> list[datetime]:
        return [self.current.start + self.choice.bucket * i for i in range(self.choice.count)]


def window(key: str, now: datetime) -> Window:
    """The window of ``key`` that ends at ``now``; the default one for an unknown key."""
    choice = CHOICES.get(key, CHOICES[DEFAULT])
    start = floor(now, choice.bucket) - choice.bucket * (choice.count - 1)
    width = choice.bucket * choice.count
    return Window(choice, Span(start, now), Span(start - width, now - width))


def floor(moment: datetime, step: timedelta) -> datetime:
    """The last edge at or before ``moment``; edges are counted from midnight UTC of any day."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step


def month_start(now: datetime) -> datetime:
    return floor(now, timedelta(days=1)).replace(day=1)


def month_to_date(now: datetime) -> tuple[Span, Span]:
    """This month so far, and as much of the month before."""
    start = month_start(now)
    before = month_start(start - timedelta(days=1))
    return Span(start, now), Span(before, min(before + (now - start), start))
