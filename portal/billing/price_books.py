"""Writes price books: a draft is edited freely, a published book never changes."""

from datetime import datetime

from django.db import transaction

from portal.billing.errors import PriceBookError
from portal.billing.models import LedgerEntry, PriceBook, Rate
from portal.snapshots.services import publish_after_commit
from portal.usage.models import PendingRequest


@transaction.atomic
def publish_book(book: PriceBook, *, now: datetime) -> PriceBook:
    """Freeze the book and tell the gateways. Raises ``PriceBookError``; its codes start with ``book_``."""
    book = PriceBook.objects.select_for_update().get(pk=book.pk)
    if book.published_at is not None:
        message = f"{book.name} is already published."
        raise PriceBookError(message, code="book_published")
    if not book.rates.exists():
        message = f"{book.name} has no prices: add a rate first."
        raise PriceBookError(message, code="book_empty")
    _check_currency(book)
    _check_moment(book)
    book.published_at = now
    book.save(update_fields=["published_at"])
    publish_after_commit()
    return book


@transaction.atomic
def copy_book(book: PriceBook, *, effective_from: datetime) -> PriceBook:
    """A draft with the same prices, to start the next book from."""
    draft = PriceBook.objects.create(
        name=f"{book.name} (copy)"[:120], currency=book.currency, effective_from=effective_from
    )
    Rate.objects.bulk_create(
        Rate(
            book=draft,
            base_model=rate.base_model,
            tier_id=rate.tier_id,
            tenant_id=rate.tenant_id,
            input_price=rate.input_price,
            cached_input_price=rate.cached_input_price,
            output_price=rate.output_price,
        )
        for rate in book.rates.all()
    )
    return draft


def _check_currency(book: PriceBook) -> None:
    """Limits and holds are plain amounts: they mean the one currency of all books."""
    other = PriceBook.objects.filter(published_at__isnull=False).exclude(currency=book.currency).first()
    if other is not None:
        message = (
            f"{book.name} is in {book.currency}, but {other.name} is in {other.currency}: "
            "spending limits know one currency only."
        )
        raise PriceBookError(message, code="book_currency")


def _check_moment(book: PriceBook) -> None:
    """No second book at one moment, and none under requests that are already charged by another."""
    others = PriceBook.objects.filter(published_at__isnull=False)
    same = others.filter(effective_from=book.effective_from).first()
    if same is not None:
        message = f"{same.name} is effective from the same moment."
        raise PriceBookError(message, code="book_moment_taken")
    covered = LedgerEntry.objects.filter(ts__gte=book.effective_from, rate__isnull=False)
    waiting = PendingRequest.objects.filter(
        ts__gte=book.effective_from, forwarded=True, settle_micro__isnull=True
    )
    following = others.filter(effective_from__gt=book.effective_from).order_by("effective_from").first()
    if following is not None:
        covered = covered.filter(ts__lt=following.effective_from)
        waiting = waiting.filter(ts__lt=following.effective_from)
    last = covered.order_by("-ts").first()
    if last is not None:
        message = (
            f"Requests up to {last.ts:%Y-%m-%d %H:%M} UTC are already charged by another book: "
            "choose a later moment."
        )
        raise PriceBookError(message, code="book_retroactive")
    if waiting.exists() and others.filter(effective_from__lt=book.effective_from).exists():
        message = (
            "Requests that were admitted at the prices in force wait to be charged: choose a later moment."
        )
        raise PriceBookError(message, code="book_retroactive")
