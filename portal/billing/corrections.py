"""Corrects entries: an event that came after its request was charged without it is not lost.

An entry never changes. What it is off by is written beside it, at the entry's own price, in the period
that is open now; the entry and its corrections sum to what all events together say, whatever their order.
GPU time is corrected worker by worker: it is the claim on that worker's bill.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
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

NO_TOKENS = Tokens(prompt=0, cached=0, completion=0)


def correct_entries(
    known: dict[str, LedgerEntry], requests: Iterable[Joined], *, now: datetime
) -> tuple[dict[str, int], list[LedgerEntry]]:
    """Bring ``known`` entries to what ``requests`` say, in the running transaction, with the books shared.

    Returns the micro-currency to settle by request id, and the corrections. Done again it finds nothing to
    correct.
    """
    earlier: dict[str, list[LedgerEntry]] = defaultdict(list)
    for line in LedgerEntry.objects.filter(corrects_id__in=list(known)):
        earlier[str(line.corrects_id)].append(line)
    corrections: list[LedgerEntry] = []
    micro: dict[str, int] = {}
    for request in requests:
        entry = known[request.request_id]
        lines = [entry, *earlier[entry.pk]]
        added = list(_corrections(request, lines, now))
        corrections += added
        lines += added
        micro[entry.pk] = settlement_micro(prices_of(entry.rate), _tokens(lines))
    LedgerEntry.objects.bulk_create(corrections)
    return micro, corrections


def micro_booked(ids: Iterable[str]) -> dict[str, int]:
    """What the entries of requests and their corrections come to in the gateway's integers."""
    lines: dict[str, list[LedgerEntry]] = {}
    for entry in LedgerEntry.objects.select_related("rate").filter(pk__in=list(ids)):
        lines[entry.pk] = [entry]
    for correction in LedgerEntry.objects.filter(corrects_id__in=list(lines)):
        lines[str(correction.corrects_id)].append(correction)
    return {key: settlement_micro(prices_of(own[0].rate), _tokens(own)) for key, own in lines.items()}


def _corrections(request: Joined, lines: list[LedgerEntry], now: datetime) -> Iterator[LedgerEntry]:
    """The differences, by worker; nothing where there is none."""
    booked = _tokens(lines)
    tokens = Tokens(
        prompt=request.tokens.prompt - booked.prompt,
        cached=request.tokens.cached - booked.cached,
        completion=request.tokens.completion - booked.completion,
    )
    gpu_ns = Counter({request.worker_id: request.gpu_ns})
    for line in lines:
        gpu_ns[line.worker_id] -= line.gpu_ns
    off = {worker for worker, ns in gpu_ns.items() if ns}
    if tokens != NO_TOKENS:
        off.add(request.worker_id)
    for number, worker in enumerate(sorted(off), start=len(lines)):
        own = tokens if worker == request.worker_id else NO_TOKENS
        yield _line(request, lines[0], number, worker=worker, tokens=own, gpu_ns=gpu_ns[worker], now=now)


def _line(
    request: Joined,
    entry: LedgerEntry,
    number: int,
    *,
    worker: str,
    tokens: Tokens,
    gpu_ns: int,
    now: datetime,
) -> LedgerEntry:
    amounts = charge(prices_of(entry.rate), tokens)
    return LedgerEntry(
        request_id=f"{entry.pk}.{number}",
        corrects=entry,
        period=period_for(entry.ts),
        worker_id=worker,
        source=request.source,
        tokens_known=request.tokens_known,
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
