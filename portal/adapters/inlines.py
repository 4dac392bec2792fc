"""Aliases as they stand on the tenant's page."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline

from portal.adapters.forms import AliasForm
from portal.adapters.models import Alias
from portal.adapters.selectors import versions_of


class AliasInline(TabularInline):  # type: ignore[misc] # unfold publishes no types
    model = Alias
    form = AliasForm
    tab = True
    extra = 0
    per_page = 20
    fields = ("name", "version", "pool")
    verbose_name = "model"
    verbose_name_plural = "models"
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Alias]":
        queryset: QuerySet[Alias] = super().get_queryset(request)
        return queryset.select_related("version__adapter__tenant", "pool", "tenant__pool")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """The page's tenant is known here: only its own versions may be chosen, in new rows too."""
        self._tenant = obj
        return super().get_formset(request, obj, **kwargs)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        tenant = getattr(self, "_tenant", None)
        if db_field.name == "version" and tenant is not None:
            kwargs["queryset"] = versions_of(tenant)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)
