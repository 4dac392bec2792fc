"""The two kinds of console page that every domain builds on."""

from typing import Any

from django.http import HttpRequest
from unfold.admin import ModelAdmin


class ConsoleAdmin(ModelAdmin):  # type: ignore[misc] # unfold publishes no types
    """A page that people edit."""

    compressed_fields = True
    warn_unsaved_form = True
    list_filter_submit = True
    list_per_page = 50
    show_full_result_count = False


class ReadOnlyAdmin(ConsoleAdmin):
    """A page that shows what happened: nothing can be added, changed or deleted there."""

    def has_add_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        return False
