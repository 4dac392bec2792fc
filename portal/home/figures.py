"""Reads the figures of a span by bucket: from the events themselves, and from day summaries where they are
there. A day that is not summarised is read from its events, so the figures never wait for the summary.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from portal.core.windows import Span, floor
from portal.home.models import DayFigures
from portal.home.quantiles import BIN_SQL
from portal.usage.paid import FAILED, OWN_REQUESTS, OWN_WORK

DAY = timedelta(days=1)


@dataclass
class Figures:
    """Sums over a span, of the tenants' own use; the workers' times are of all that they did.

    Tokens and ``gpu_ns`` as the engine counted them; ``ttft`` counts by bin.
    """

    requests: int = 0
    rejected: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    gpu_ns: int = 0
    busy_ns: int = 0
    startup_ns: int = 0
    alive_ns: int = 0
    ttft: Counter[int] = field(default_factory=Counter)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def idle_ns(self) -> int:
        return max(0, self.alive_ns - self.busy_ns - self.startup_ns)

    def add(self, other: "Figures") -> None:
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.ttft.update(other.ttft)


_SUMS = (
    *("requests", "rejected", "failed", "prompt_tokens", "cached_tokens", "completion_tokens"),
    *("gpu_ns", "busy_ns", "startup_ns", "alive_ns"),
)
Series = dict[datetime, Figures]


def series(span: Span, bucket: timedelta) -> Series:
    """Figures by the start of their bucket; buckets without anything are absent."""
    found: Series = defaultdict(Figures)
    if bucket < DAY:
        _add_events(found, span, bucket)
        return found
    summed = _summaries(span)
    for day, row in summed.items():
        found[midnight(day)].add(row)
    for gap in gaps(span, set(summed)):
        _add_events(found, gap, bucket)
    return found


def total(parts: Series) -> Figures:
    whole = Figures()
    for part in parts.values():
        whole.add(part)
    return whole


def by_tenant(span: Span, bucket: timedelta, *, limit: int) -> list[tuple[UUID, int, int]]:
    """(tenant id, tokens, requests) of those with the most tokens, then requests, in the span."""
    days: set[date] = set(summarised_days(span)) if bucket >= DAY else set()
    parts: list[str] = [_TENANT_DAYS]
    values: list[Any] = [sorted(days)]
    for gap in gaps(span, days):
        parts += [_TOKENS_BY_TENANT, _REQUESTS_BY_TENANT]
        values += [gap.start, gap.end, gap.start, gap.end]
    union = " UNION ALL ".join(parts)
    rows = _rows(
        f"SELECT tenant_id, sum(tokens), sum(requests) FROM ({union}) every"  # noqa: S608 - constants only
        " GROUP BY 1 ORDER BY 2 DESC, 3 DESC, 1 LIMIT %s",
        [*values, limit],
    )
    return [(tenant, int(tokens), int(requests)) for tenant, tokens, requests in rows]


def gaps(span: Span, days: set[date]) -> Iterator[Span]:
    """What of ``span`` lies outside ``days``, as few spans as possible."""
    start = span.start
    edge = floor(span.start, DAY)
    while edge < span.end:
        if edge.date() in days:
            if start < edge:
                yield Span(start, edge)
            start = edge + DAY
        edge += DAY
    if start < span.end:
        yield Span(start, span.end)


def whole_days(span: Span) -> tuple[date, date]:
    """``[first, last)`` of the days that lie wholly inside."""
    first = floor(span.start, DAY)
    if first < span.start:
        first += DAY
    return first.date(), floor(span.end, DAY).date()


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def summarised_days(span: Span) -> list[date]:
    """The whole days of ``span`` that have a summary."""
    first, last = whole_days(span)
    days = DayFigures.objects.filter(tenant_id__isnull=True, day__gte=first, day__lt=last)
    return list(days.values_list("day", flat=True))


def _summaries(span: Span) -> dict[date, Figures]:
    first, last = whole_days(span)
    rows = DayFigures.objects.filter(tenant_id__isnull=True, day__gte=first, day__lt=last)
    return {
        row.day: Figures(
            **{name: getattr(row, name) for name in _SUMS},
            ttft=Counter({int(number): count for number, count in row.ttft.items()}),
        )
        for row in rows
    }


def _add_events(found: Series, span: Span, bucket: timedelta) -> None:
    """Origin of all buckets is a midnight, so that they fall on the edges of ``windows.floor``."""
    values = [bucket, span.start, span.end]
    for start, outcome, number, count in _rows(_GATEWAY, values):
        into = found[start]
        into.requests += count
        into.rejected += count if outcome == "rejected" else 0
        into.failed += count if outcome in FAILED else 0
        if number is not None:
            into.ttft[number] += count
    for start, *sums in _rows(_ENGINE, values):
        into = found[start]
        into.prompt_tokens, into.cached_tokens, into.completion_tokens, into.gpu_ns = map(
            sum,
            zip(
                (into.prompt_tokens, into.cached_tokens, into.completion_tokens, into.gpu_ns),
                map(int, sums),
                strict=True,
            ),
        )
    for start, busy, startup, alive in _rows(_WORKERS, values):
        into = found[start]
        into.busy_ns += int(busy)
        into.startup_ns += int(startup)
        into.alive_ns += int(alive)


def _rows(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


_BUCKET = "date_bin(%s, ts, '2000-01-01T00:00:00Z'::timestamptz)"
_SPAN = "ts >= %s AND ts < %s"
_GATEWAY = (
    f"SELECT {_BUCKET}, outcome, {BIN_SQL}, count(*) FROM usage_gatewayusage"  # noqa: S608 - constants only
    f" WHERE {_SPAN} AND {OWN_REQUESTS} GROUP BY 1, 2, 3"
)
_ENGINE = (
    f"SELECT {_BUCKET}, sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),"  # noqa: S608
    f" sum(prefill_ns + decode_ns) FROM usage_engineusage WHERE {_SPAN} AND {OWN_WORK} GROUP BY 1"
)
_WORKERS = (
    f"SELECT {_BUCKET}, sum(busy_ns), sum(startup_ns),"  # noqa: S608
    ' sum(extract(epoch FROM "end" - ts) * 1000000000)'
    f" FROM usage_workertime WHERE {_SPAN} GROUP BY 1"
)
_TENANT_DAYS = (
    "SELECT tenant_id, prompt_tokens + completion_tokens AS tokens, requests FROM home_dayfigures"
    " WHERE tenant_id IS NOT NULL AND day = ANY(%s)"
)
_TOKENS_BY_TENANT = (
    "SELECT tenant_id, sum(prompt_tokens + completion_tokens), 0 FROM usage_engineusage"  # noqa: S608
    f" WHERE {_SPAN} AND {OWN_WORK} GROUP BY 1"
)
_REQUESTS_BY_TENANT = (
    "SELECT tenant_id, 0, count(*) FROM usage_gatewayusage"  # noqa: S608
    f" WHERE {_SPAN} AND {OWN_REQUESTS} AND tenant_id IS NOT NULL GROUP BY 1"
)
