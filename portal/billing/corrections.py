"""Corrects entries: an engine's event that came after its request was charged without it is not lost.

An entry never changes. What it lacks is written beside it, at the entry's own price, in the period that
is open now; the entry and its corrections sum to what both events together say.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from portal.billing.joining import Joined
from portal.billing.ledger import prices_of
from portal.billing.models import LedgerEntry
from portal.billing.periods import period_for
from portal.billing.pricing import Tokens, charge, settlement_micro

KEPT = (
    *("ts", "tenant_id", "tenant_name", "app_id", "app_name", "key_id", "alias", "base_model"),
    *("adapter_version_id", "adapter_name", "rate_id", "currency", "outcome"),
)
"""What a correction has in common with its entry: who, what and at which price."""


def correct_entries(
    known: dict[str, LedgerEntry], requests: Iterable[Joined], *, now: datetime
) -> tuple[dict[str, int], int]:
    """Bring ``known`` entries to what ``requests`` say, in the running transaction, with the books shared.

    Returns the micro-currency to settle by request id, and how many corrections were written. Done again
    it finds nothing to correct.
    """
    earlier: dict[str, list[LedgerEntry]] = defaultdict(list)
    for line in LedgerEntry.objects.filter(corrects_id__in=list(known)):
        earlier[str(line.corrects_id)].append(line)
    corrections: list[LedgerEntry] = []
    micro: dict[str, int] = {}
    for request in requests:
        entry = known[request.request_id]
        lines = [entry, *earlier[entry.pk]]
        if correction := _correction(request, lines, now):
            corrections.append(correction)
            lines.append(correction)
        micro[entry.pk] = settlement_micro(prices_of(entry.rate), _tokens(lines))
    LedgerEntry.objects.bulk_create(corrections)
    return micro, len(corrections)


def micro_booked(ids: Iterable[str]) -> dict[str, int]:
    """What the entries of requests and their corrections come to in the gateway's integers."""
    lines: dict[str, list[LedgerEntry]] = {}
    for entry in LedgerEntry.objects.select_related("rate").filter(pk__in=list(ids)):
        lines[entry.pk] = [entry]
    for correction in LedgerEntry.objects.filter(corrects_id__in=list(lines)):
        lines[str(correction.corrects_id)].append(correction)
    return {key: settlement_micro(prices_of(own[0].rate), _tokens(own)) for key, own in lines.items()}


def _correction(request: Joined, lines: list[LedgerEntry], now: datetime) -> LedgerEntry | None:
    """The difference, or None where there is none. Only what the engine says may correct."""
    entry, booked = lines[0], _tokens(lines)
    if request.source == LedgerEntry.Source.GATEWAY_ONLY:
        return None
    tokens = Tokens(
        prompt=request.tokens.prompt - booked.prompt,
        cached=request.tokens.cached - booked.cached,
        completion=request.tokens.completion - booked.completion,
    )
    gpu_ns = request.gpu_ns - sum(line.gpu_ns for line in lines)
    if tokens == Tokens(prompt=0, cached=0, completion=0) and gpu_ns == 0:
        return None
    amounts = charge(prices_of(entry.rate), tokens)
    return LedgerEntry(
        request_id=f"{entry.pk}.{len(lines)}",
        corrects=entry,
        period=period_for(entry.ts),
        worker_id=request.worker_id,
        source=request.source,
        tokens_known=True,
        prompt_tokens=tokens.prompt,
        cached_tokens=tokens.cached,
        completion_tokens=tokens.completion,
        input_amount=amounts.input,
        cached_input_amount=amounts.cached_input,
        output_amount=amounts.output,
        gpu_ns=gpu_ns,
        created_at=now,
        **{name: getattr(entry, name) for name in KEPT},
    )


def _tokens(lines: list[LedgerEntry]) -> Tokens:
    return Tokens(
        prompt=sum(line.prompt_tokens for line in lines),
        cached=sum(line.cached_tokens for line in lines),
        completion=sum(line.completion_tokens for line in lines),
    )
