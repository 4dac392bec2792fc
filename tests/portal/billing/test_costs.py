"""A worker's bill: its lines sum to it to the cent, whatever was metered and claimed."""

from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from portal.billing.costs import (
    BUSY,
    IDLE,
    NS_PER_HOUR,
    RESIDUAL,
    STARTUP,
    Bill,
    Metered,
    Segment,
    bill_worker,
    clip,
    segments,
)
from tests.portal.billing.books import START

HOUR = NS_PER_HOUR
times = st.integers(0, 40 * HOUR)


@st.composite
def metered(draw: st.DrawFn) -> Metered:
    startup, busy, idle = draw(times), draw(times), draw(times)
    rate = draw(st.none() | st.integers(0, 50_000_000))
    return Metered(wall_ns=startup + busy + idle, startup_ns=startup, busy_ns=busy, rate_micro=rate)


shares_of = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 60 * HOUR))


@given(st.lists(metered(), max_size=5), shares_of)
def test_the_lines_sum_to_the_bill_and_no_money_is_negative(
    parts: list[Metered], shares: dict[str, int]
) -> None:
    bill = bill_worker(parts, shares)

    exact = sum(Decimal(part.rate_micro or 0) * part.wall_ns for part in parts) / HOUR / 10_000
    assert sum(line.cents for line in bill.lines) == bill.cents
    assert abs(bill.cents - exact) <= Decimal("0.5")
    assert all(line.cents >= 0 for line in bill.lines)
    assert sum(line.ns for line in bill.lines) == bill.wall_ns


@given(st.lists(metered(), max_size=4), shares_of, st.randoms(use_true_random=False))
def test_the_order_in_which_time_arrived_does_not_matter(
    parts: list[Metered], shares: dict[str, int], random: object
) -> None:
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert bill_worker(shuffled, shares) == bill_worker(parts, shares)


def kinds(bill: Bill) -> dict[tuple[str, str | None], int]:
    return {(line.kind, line.tenant): line.cents for line in bill.lines}


def test_busy_money_goes_by_share_and_the_rest_to_start_up_idle_and_residual() -> None:
    part = Metered(wall_ns=10 * HOUR, startup_ns=HOUR, busy_ns=4 * HOUR, rate_micro=1_000_000)

    bill = bill_worker([part], {"acme": 2 * HOUR, "globex": HOUR})

    assert bill.cents == 1000
    assert kinds(bill) == {
        (BUSY, "acme"): 200,
        (BUSY, "globex"): 100,
        (RESIDUAL, None): 100,
        (STARTUP, None): 100,
        (IDLE, None): 500,
    }


def test_claims_beyond_the_metered_time_share_the_busy_money_and_are_stated() -> None:
    part = Metered(wall_ns=2 * HOUR, startup_ns=0, busy_ns=HOUR, rate_micro=1_000_000)

    bill = bill_worker([part], {"acme": 3 * HOUR, "globex": HOUR})

    assert kinds(bill) == {(BUSY, "acme"): 75, (BUSY, "globex"): 25, (IDLE, None): 100, (RESIDUAL, None): 0}
    assert next(line.ns for line in bill.lines if line.kind == RESIDUAL) == -3 * HOUR


def test_time_without_a_rate_costs_nothing_and_is_counted() -> None:
    bill = bill_worker([Metered(wall_ns=HOUR, startup_ns=0, busy_ns=0, rate_micro=None)], {})

    assert (bill.cents, bill.unpriced_ns) == (0, HOUR)


@given(
    st.integers(0, 10_000),
    st.integers(1, 10_000),
    st.integers(0, 10**13),
    st.integers(0, 10**13),
    st.lists(st.integers(0, 20_000), max_size=4),
)
def test_a_stretch_cut_at_rates_keeps_every_nanosecond(
    begin: int, length: int, startup_ns: int, busy_ns: int, changes: list[int]
) -> None:
    start, end = moment(begin), moment(begin + length)
    rates = [(moment(change), Decimal(change), "USD") for change in set(changes)]

    cut = [
        clip(start, end, startup_ns=startup_ns, busy_ns=busy_ns, segment=segment)
        for segment in segments(moment(-1), moment(30_000), rates, currency="USD")
    ]

    assert sum(part.wall_ns for part in cut) == length * 10**9
    assert sum(part.startup_ns for part in cut) == startup_ns
    assert sum(part.busy_ns for part in cut) == busy_ns


def test_a_rate_change_within_a_stretch_is_billed_on_both_sides_of_it() -> None:
    rates = [(moment(-5), Decimal(1), "USD"), (moment(3600), Decimal(3), "USD")]

    parts = [
        clip(moment(0), moment(7200), startup_ns=0, busy_ns=0, segment=segment)
        for segment in segments(moment(0), moment(9000), rates, currency="USD")
    ]

    assert bill_worker(parts, {}).cents == 400


def test_before_the_first_rate_there_is_none() -> None:
    first, second = segments(moment(0), moment(10), [(moment(4), Decimal(1), "EUR")], currency="USD")

    assert first == Segment(start=moment(0), end=moment(4), rate_micro=None, currency="USD")
    assert (second.rate_micro, second.currency) == (1_000_000, "EUR")


def moment(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)
