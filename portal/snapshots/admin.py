"""The configuration's versions, and what every page does whose changes must reach the gateways."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.core.admin import ReadOnlyAdmin
from portal.core.decorators import display
from portal.snapshots.models import PublishedSnapshot
from portal.snapshots.services import Publication, publish_after_commit, publish_noted_after_commit
from portal.snapshots.touched import tenant_touched


def publish_for(request: HttpRequest, tenant_id: UUID | None = None) -> None:
    """Publish after the running transaction, and tell the user what became of it.

    ``tenant_id`` is the only tenant that the change touches; without it everything is published.
    """
    publish_after_commit(_reporting_to(request), tenant_id=tenant_id)


def _reporting_to(request: HttpRequest) -> Callable[[Publication], None]:

    def report(publication: Publication) -> None:
        if not publication.delivered:
            messages.warning(
                request,
                "Saved, but Redis cannot be reached: gateways keep their configuration until it is back. "
                "Then they get this change by themselves.",
            )
        elif publication.changed:
            messages.info(request, f"Gateways get it now, as configuration {publication.version}.")

    return report


@contextmanager
def publishing(request: HttpRequest) -> Iterator[None]:
    """One transaction around services, which note their changes; then the user is told of the publishing."""
    with transaction.atomic():
        # First, so that its report tells of the publishing and not the services' own.
        publish_noted_after_commit(_reporting_to(request))
        yield


class PublishingAdmin:
    """Mixed into a ModelAdmin: what is saved or deleted on its pages is published after the commit."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001
        super().save_related(request, form, formsets, change)  # type: ignore[misc]
        publish_for(request, tenant_touched(form.instance))

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        touched = tenant_touched(obj)
        super().delete_model(request, obj)  # type: ignore[misc]
        publish_for(request, touched)

    def delete_queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> None:
        touched = {tenant_touched(row) for row in queryset}
        super().delete_queryset(request, queryset)  # type: ignore[misc]
        for tenant_id in touched:
            publish_for(request, tenant_id)


@admin.register(PublishedSnapshot)
class PublishedSnapshotAdmin(ReadOnlyAdmin):
    list_display = ("version", "published_at", "state", "short_digest")
    list_filter = ()
    fields = ("version", "published_at", "checked_at", "delivered_at", "whole_digest")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[PublishedSnapshot]":
        queryset: QuerySet[PublishedSnapshot] = super().get_queryset(request)
        return queryset.defer("content")

    @display(description="State", label={"delivered": "success", "waiting for Redis": "warning"})
    def state(self, obj: PublishedSnapshot) -> str:
        return "delivered" if obj.delivered_at else "waiting for Redis"

    @display(description="Content (SHA-256)")
    def whole_digest(self, obj: PublishedSnapshot) -> SafeString:
        return format_html('<span style="overflow-wrap: anywhere">{}</span>', obj.digest)

    @display(description="Content (SHA-256)")
    def short_digest(self, obj: PublishedSnapshot) -> str:
        return f"{obj.digest[:12]}…"
