"""The price book pages: edit a draft, publish it, start the next one from it."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.enums import ActionVariant

from portal.billing.errors import PriceBookError
from portal.billing.models import PriceBook, Rate
from portal.billing.price_books import copy_book, publish_book
from portal.core import clock
from portal.core.admin import ConsoleAdmin
from portal.core.decorators import action, display
from portal.core.pages import Question, ask
from portal.core.words import count
from portal.snapshots.admin import publishing

STATES = {"draft": "info", "in force": "success", "not yet": "warning", "replaced": "default"}


class RateInline(TabularInline):  # type: ignore[misc] # unfold publishes no types
    model = Rate
    extra = 0
    autocomplete_fields = ("tier", "tenant")
    fields = ("base_model", "tier", "tenant", "input_price", "cached_input_price", "output_price")
    verbose_name_plural = (
        "rates per million tokens (the tenant's own wins over its tier's, that over everyone's)"
    )

    def has_add_permission(self, request: HttpRequest, obj: PriceBook | None = None) -> bool:
        return not _is_published(obj) and bool(super().has_add_permission(request, obj))

    def has_change_permission(self, request: HttpRequest, obj: PriceBook | None = None) -> bool:
        return not _is_published(obj) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: PriceBook | None = None) -> bool:
        return not _is_published(obj) and bool(super().has_delete_permission(request, obj))


@admin.register(PriceBook)
class PriceBookAdmin(ConsoleAdmin):
    list_display = ("name", "state", "effective_from", "currency", "rates_text", "published_at")
    search_fields = ("name",)
    fields = (("name", "currency"), "effective_from", "published_at")
    readonly_fields = ("published_at",)
    inlines = (RateInline,)
    actions_detail = ("publish", "copy")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[PriceBook]":
        queryset: QuerySet[PriceBook] = super().get_queryset(request)
        return queryset.annotate(rate_count=Count("rates"))

    def get_fields(self, _request: HttpRequest, obj: PriceBook | None = None) -> Any:
        return self.fields if obj else self.fields[:-1]

    def has_change_permission(self, request: HttpRequest, obj: PriceBook | None = None) -> bool:
        return not _is_published(obj) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: PriceBook | None = None) -> bool:
        return not _is_published(obj) and bool(super().has_delete_permission(request, obj))

    @display(description="State", label=STATES)
    def state(self, obj: PriceBook) -> str:
        if obj.published_at is None:
            return "draft"
        now = clock.now()
        if obj.effective_from > now:
            return "not yet"
        later = PriceBook.objects.filter(
            published_at__isnull=False, effective_from__gt=obj.effective_from, effective_from__lte=now
        )
        return "replaced" if later.exists() else "in force"

    @display(description="Rates", ordering="rate_count")
    def rates_text(self, obj: Any) -> str:
        return count(obj.rate_count, "rate")

    def has_publish_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        draft = PriceBook.objects.filter(pk=object_id, published_at__isnull=True)
        return self.has_change_permission(request) and (object_id is None or draft.exists())

    @action(
        description="Publish",
        url_path="publish",
        permissions=["publish"],
        icon="publish",
        variant=ActionVariant.PRIMARY,
    )
    def publish(self, request: HttpRequest, object_id: str) -> HttpResponse:
        book = PriceBook.objects.get(pk=object_id)
        back = reverse("admin:billing_pricebook_change", args=[object_id])
        if request.method == "POST":
            try:
                with publishing(request):
                    publish_book(book, now=clock.now())
            except PriceBookError as error:
                messages.error(request, error.message)
            else:
                messages.success(request, f"{book.name} is published.")
                self.log_change(request, book, "Published.")
            return HttpResponseRedirect(back)
        question = Question(
            title=f"Publish {book.name}?",
            button=f"Publish {book.name}",
            back=back,
            says=(
                f"{count(book.rates.count(), 'rate')} in {book.currency} price every request admitted "
                f"from {book.effective_from:%Y-%m-%d %H:%M} UTC on, until the next published book.",
                "A published book never changes again. New prices are a new book.",
            ),
        )
        return ask(self, request, question)

    def has_copy_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        return bool(self.has_add_permission(request))

    @action(description="Copy to a draft", url_path="copy", permissions=["copy"], icon="content_copy")
    def copy(self, request: HttpRequest, object_id: str) -> HttpResponse:
        book = PriceBook.objects.get(pk=object_id)
        back = reverse("admin:billing_pricebook_change", args=[object_id])
        if request.method == "POST":
            draft = copy_book(book, effective_from=clock.now().replace(second=0, microsecond=0))
            self.log_addition(request, draft, f"Copied from {book.name}.")
            messages.success(request, "This draft changes nothing until it is published.")
            return HttpResponseRedirect(reverse("admin:billing_pricebook_change", args=[draft.pk]))
        says = ("A draft with the same prices is made. It changes nothing until it is published.",)
        question = Question(
            title=f"Copy {book.name} to a draft?", button="Make the draft", back=back, says=says
        )
        return ask(self, request, question)


def _is_published(book: PriceBook | None) -> bool:
    return book is not None and book.published_at is not None
