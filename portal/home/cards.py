"""The row of figures on the home page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from urllib.parse import urlencode

from django.urls import reverse

from portal.core.windows import Window, month_to_date
from portal.core.wording import Amount, change, count, latency, money, seconds, short
from portal.home.attention import User
from portal.home.charges import Charged, charged, limits
from portal.home.figures import Figures, Series, total
from portal.home.quantiles import quantile

Mood = Literal["good", "bad", "plain"]


@dataclass(frozen=True, kw_only=True)
class Card:
    """``spark`` is an SVG path in a box of 100 x 24; ``share`` fills a bar (percent)."""

    title: str
    amount: Amount
    period: str
    note: str
    link: str
    icon: str
    change: str = ""
    mood: Mood = "plain"
    spark: str = ""
    share: int | None = None


def cards(user: User, window: Window, now: datetime, current: Series, previous: Series) -> list[Card]:
    """Only the figures that ``user`` may see."""
    found: list[Card] = []
    if user.has_perm("usage.view_gatewayusage"):
        found += _traffic(window, current, previous)
    if user.has_perm("billing.view_ledgerentry"):
        found.append(_spend(now))
    if user.has_perm("usage.view_engineusage"):
        found.append(_gpu(window, current, previous))
    if user.has_perm("usage.view_gatewayusage"):
        found += _quality(window, current, previous)
    return found


def spark(values: Sequence[float]) -> str:
    """An SVG path over a box of 100 x 24, highest value on top."""
    top = max(values, default=0)
    if not top or len(values) < 2:  # noqa: PLR2004 - a line needs two points
        return ""
    step = 100 / (len(values) - 1)
    points = [f"{i * step:.1f},{22 - 20 * value / top:.1f}" for i, value in enumerate(values)]
    return "M" + " L".join(points)


def _values(window: Window, current: Series, name: str) -> list[float]:
    return [getattr(current.get(start, _NOTHING), name) for start in window.buckets()]


_NOTHING = Figures()


def _requests_link(window: Window, **filters: str) -> str:
    query = urlencode({"period": window.choice.key, **filters})
    return f"{reverse('admin:usage_gatewayusage_changelist')}?{query}"


def _traffic(window: Window, current: Series, previous: Series) -> list[Card]:
    now, before = total(current), total(previous)
    served = now.requests - now.rejected - now.failed
    cached = 100 * now.cached_tokens / now.prompt_tokens if now.prompt_tokens else 0
    return [
        Card(
            title="Requests",
            amount=count(now.requests, "requests"),
            period=window.choice.words,
            note=f"{short(served)} answered · {short(now.failed)} failed",
            change=change(now.requests, before.requests),
            link=_requests_link(window),
            icon="swap_vert",
            spark=spark(_values(window, current, "requests")),
        ),
        Card(
            title="Tokens",
            amount=count(now.tokens, "tokens"),
            period=window.choice.words,
            note=f"{short(now.prompt_tokens)} in ({cached:.0f} % cached) · "
            f"{short(now.completion_tokens)} out",
            change=change(now.tokens, before.tokens),
            link=_requests_link(window, outcome="completed"),
            icon="token",
            spark=spark(_values(window, current, "tokens")),
        ),
    ]


def _spend(now: datetime) -> Card:
    this_month, last_month = (charged(span) for span in month_to_date(now))
    first = this_month[0] if this_month else Charged("USD", Decimal(0), Decimal(0))
    before = next((one.total for one in last_month if one.currency == first.currency), Decimal(0))
    limited, limit = limits()
    others = ", ".join(str(money(one.total, one.currency)) for one in this_month[1:])
    tenants = f"{limited:,} tenant{'s' if limited != 1 else ''}"
    note = (
        f"{money(first.limited, first.currency).text} of {money(limit, first.currency).text}"
        f" in limits of {tenants}"
        if limited
        else "no spend limit is set"
    )
    return Card(
        title="Charged",
        amount=money(first.total, first.currency),
        period=f"in {now:%b}, UTC",
        note=f"{note} · and {others}" if others else note,
        change=change(float(first.total), float(before)),
        link=reverse("admin:billing_ledgerentry_changelist"),
        icon="payments",
        share=min(100, int(100 * first.limited / limit)) if limit else None,
    )


def _gpu(window: Window, current: Series, previous: Series) -> Card:
    now, before = total(current), total(previous)
    busy = f"workers {100 * now.busy_ns / now.alive_ns:.0f} % busy" if now.alive_ns else "no worker time yet"
    return Card(
        title="GPU time",
        amount=seconds(now.gpu_ns),
        period=window.choice.words,
        note=busy,
        change=change(now.gpu_ns, before.gpu_ns),
        link=reverse("admin:usage_engineusage_changelist"),
        icon="memory",
        spark=spark(_values(window, current, "gpu_ns")),
    )


def _quality(window: Window, current: Series, previous: Series) -> list[Card]:
    now, before = total(current), total(previous)
    p95, p95_before = quantile(now.ttft, 0.95), quantile(before.ttft, 0.95)
    p50 = quantile(now.ttft, 0.5)
    p95s = [quantile(current.get(start, _NOTHING).ttft, 0.95) or 0 for start in window.buckets()]
    share = 100 * now.rejected / now.requests if now.requests else 0
    return [
        Card(
            title="First token, p95",
            amount=latency(p95),
            period=window.choice.words,
            note=f"half within {latency(p50).text}" if p50 else "no answer yet",
            change=change(p95 or 0, p95_before or 0) if p95 else "",
            mood=_mood(p95 or 0, p95_before or 0),
            link=_requests_link(window, outcome="completed", o="-6"),
            icon="speed",
            spark=spark(p95s),
        ),
        Card(
            title="Rejections",
            amount=count(now.rejected, "requests refused"),
            period=window.choice.words,
            note=f"{share:.1f} % of requests",
            change=change(now.rejected, before.rejected),
            mood=_mood(now.rejected, before.rejected),
            link=_requests_link(window, outcome="rejected"),
            icon="block",
            spark=spark(_values(window, current, "rejected")),
        ),
    ]


def _mood(now: float, before: float) -> Mood:
    """Less is better; a tenth up or down is noise."""
    if not before or abs(now - before) <= before / 10:
        return "plain"
    return "bad" if now > before else "good"
