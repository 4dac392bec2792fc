"""Numbers as people read them: short, with the exact figure beside for the tooltip. Pure."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

_SCALES = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "K"))
_SMALL = 10_000


@dataclass(frozen=True)
class Amount:
    """``text`` is what stands there, ``exact`` what the tooltip says."""

    text: str
    exact: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.unit}".rstrip()


def count(value: int, unit: str) -> Amount:
    return Amount(short(value), f"{value:,} {unit}")


def short(value: float) -> str:
    """``12,345`` becomes ``12.3K``; below ten thousand nothing is cut."""
    if abs(value) < _SMALL:
        return f"{value:,.0f}"
    for scale, letter in _SCALES:
        if abs(value) >= scale:
            scaled = value / scale
            return f"{scaled:.0f}{letter}" if scaled >= 100 else f"{scaled:.1f}{letter}"  # noqa: PLR2004
    return f"{value:,.0f}"


def money(value: Decimal, currency: str) -> Amount:
    """Two decimals; the tooltip has all that matter."""
    cents = value.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)
    return Amount(f"{cents:,}", f"{value.normalize():f} {currency}", currency)


def seconds(nanoseconds: int) -> Amount:
    """GPU time: seconds, then hours once they are many."""
    value = nanoseconds / 1e9
    exact = f"{value:,.3f} s"
    if value >= 36_000:  # noqa: PLR2004 - ten hours
        return Amount(f"{value / 3600:,.1f} h", exact)
    return Amount(f"{value:,.1f} s" if value < 1000 else f"{value:,.0f} s", exact)  # noqa: PLR2004


def latency(microseconds: float | None) -> Amount:
    if microseconds is None:
        return Amount("—", "nothing measured")
    milliseconds = microseconds / 1000
    if milliseconds >= 1000:  # noqa: PLR2004
        return Amount(f"{milliseconds / 1000:.2f} s", f"about {milliseconds:,.0f} ms")
    return Amount(f"{milliseconds:.0f} ms", f"about {milliseconds:.1f} ms")


def change(now: float, before: float) -> str:
    """``+12 %``; empty where there is nothing to compare with."""
    if not before:
        return ""
    percent = 100 * (now - before) / before
    if percent >= 1000:  # noqa: PLR2004
        return f"{now / before:.0f}-fold"
    return f"{percent:+.0f} %".replace("-", "−")  # noqa: RUF001 - a real minus sign
