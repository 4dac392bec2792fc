"""What a worker cost in a period, and who it was for. Pure integers until the amounts in cents.

Every nanosecond of a worker is start-up, busy or idle. The bill is rate times wall clock, rounded once,
half up; busy money is parted by the requests' shares of the busy time; all lines of a worker are cut
from its bill by largest remainder, so they sum to it to the cent.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from portal.billing.allocation import allocate

MICRO = 1_000_000
NS_PER_HOUR = 3600 * 10**9
_NS_MICRO_PER_CENT = NS_PER_HOUR * MICRO // 100

BUSY, STARTUP, IDLE, RESIDUAL = "busy", "startup", "idle", "residual"


@dataclass(frozen=True, kw_only=True)
class Metered:
    """Time of one worker at one rate: micro-currency per hour; None where nobody set one."""

    wall_ns: int
    startup_ns: int
    busy_ns: int
    rate_micro: int | None

    @property
    def idle_ns(self) -> int:
        return max(0, self.wall_ns - self.startup_ns - self.busy_ns)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A part of a bill. ``tenant`` only for busy lines. A negative ``ns`` costs nothing."""

    kind: str
    tenant: str | None
    ns: int
    cents: int


@dataclass(frozen=True, kw_only=True)
class Bill:
    """``lines`` sum to ``cents``. ``unpriced_ns`` ran while its pool had no rate."""

    cents: int
    lines: tuple[Line, ...]
    wall_ns: int
    unpriced_ns: int


def bill_worker(metered: Iterable[Metered], shares: Mapping[str, int]) -> Bill:
    """The bill of one worker; ``shares`` are nanoseconds of busy time by tenant.

    Requests may claim more than the intervals metered, where a request and its steps fall into
    different periods: then busy money is parted among the claims alone, and the residual says by how
    much they exceed, at no cost.
    """
    parts = list(metered)
    busy_ns = sum(part.busy_ns for part in parts)
    claimed = sum(shares.values())
    times = {(STARTUP, ""): sum(part.startup_ns for part in parts)}
    times |= {(IDLE, ""): sum(part.idle_ns for part in parts)}
    times |= {(RESIDUAL, ""): busy_ns - claimed}
    times |= {(BUSY, tenant): ns for tenant, ns in shares.items()}
    cents = _round_half_up(sum((part.rate_micro or 0) * part.wall_ns for part in parts), _NS_MICRO_PER_CENT)
    amounts = allocate(cents, _weights(parts, shares, busy_ns)) if cents else dict.fromkeys(times, 0)
    lines = tuple(
        Line(kind=kind, tenant=tenant or None, ns=times[kind, tenant], cents=amounts.get((kind, tenant), 0))
        for kind, tenant in sorted(times)
        if times[kind, tenant] or amounts.get((kind, tenant), 0)
    )
    return Bill(
        cents=cents,
        lines=lines,
        wall_ns=sum(part.wall_ns for part in parts),
        unpriced_ns=sum(part.wall_ns for part in parts if part.rate_micro is None),
    )


def _weights(parts: list[Metered], shares: Mapping[str, int], busy_ns: int) -> dict[tuple[str, str], int]:
    """Exact money of every line, in one common unit."""
    startup = sum((part.rate_micro or 0) * part.startup_ns for part in parts)
    idle = sum((part.rate_micro or 0) * part.idle_ns for part in parts)
    busy = sum((part.rate_micro or 0) * part.busy_ns for part in parts)
    claimed = sum(shares.values())
    whole = max(busy_ns, claimed, 1)
    weights = {(BUSY, tenant): busy * ns for tenant, ns in shares.items()}
    weights[RESIDUAL, ""] = busy * max(0, busy_ns - claimed)
    weights[STARTUP, ""] = startup * whole
    weights[IDLE, ""] = idle * whole
    return weights


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """``[start, end)`` at one rate."""

    start: datetime
    end: datetime
    rate_micro: int | None
    currency: str


def segments(
    start: datetime, end: datetime, rates: Iterable[tuple[datetime, Decimal, str]], *, currency: str
) -> Iterator[Segment]:
    """Part ``[start, end)`` where a rate begins. ``rates``: (effective from, per hour, currency).

    ``currency`` is for the time before the first rate.
    """
    known = sorted(rates)
    cuts = sorted({start, end, *(begin for begin, _rate, _currency in known if start < begin < end)})
    for begin, stop in pairwise(cuts):
        in_force = [rate for rate in known if rate[0] <= begin]
        if in_force:
            _from, hourly, of = in_force[-1]
            yield Segment(start=begin, end=stop, rate_micro=int(hourly * MICRO), currency=of)
        else:
            yield Segment(start=begin, end=stop, rate_micro=None, currency=currency)


def clip(start: datetime, end: datetime, *, startup_ns: int, busy_ns: int, segment: Segment) -> Metered:
    """The part of a stretch ``[start, end)`` inside ``segment``, its times in proportion.

    Parts of adjacent segments sum exactly to the stretch.
    """
    wall = ns_of(end - start)
    low, high = (ns_of(min(max(edge, start), end) - start) for edge in (segment.start, segment.end))

    def part(whole: int) -> int:
        return whole * high // wall - whole * low // wall if wall else 0

    return Metered(
        wall_ns=high - low,
        startup_ns=part(startup_ns),
        busy_ns=part(busy_ns),
        rate_micro=segment.rate_micro,
    )


def ns_of(duration: timedelta) -> int:
    return (duration // timedelta(microseconds=1)) * 1000
