"""What all views of the API share."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework import mixins
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from portal.api.idempotency import IdempotentMixin
from portal.snapshots.services import publish_after_commit
from portal.snapshots.touched import tenant_touched

Filters = dict[str, str]


class Base(IdempotentMixin, GenericViewSet):  # type: ignore[type-arg]
    """Without PUT: a partial change says what it means."""

    http_method_names: Sequence[str] = ("get", "post", "patch", "delete", "head", "options")
    filters: Filters = {}
    """Query parameter -> lookup of an exact match; other values than the column takes find nothing."""

    def filter_queryset(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        queryset = super().filter_queryset(queryset)
        if self.action != "list":
            return queryset
        for name, lookup in self.filters.items():
            if (value := self.request.query_params.get(name)) is not None:
                queryset = _exactly(queryset, lookup, value)
        # Ties would let pages repeat or miss rows.
        return queryset.order_by(*queryset.model._meta.ordering, "pk")  # noqa: SLF001 - its public name

    def get_object(self) -> Any:
        if any("\x00" in str(value) for value in self.kwargs.values()):  # PostgreSQL's text holds none
            raise Http404
        return super().get_object()


def _exactly(queryset: "QuerySet[Any]", lookup: str, value: str) -> "QuerySet[Any]":
    model: Any = queryset.model
    field: Any = None
    for part in lookup.split("__"):
        field = model._meta.get_field(part)  # noqa: SLF001
        model = field.related_model
    try:
        (field.target_field if field.is_relation else field).to_python(value)
    except ValidationError:
        return queryset.none()
    return queryset.none() if "\x00" in value else queryset.filter(**{lookup: value})


class ReadOnly(mixins.ListModelMixin, mixins.RetrieveModelMixin, Base):
    http_method_names: Sequence[str] = ("get", "head", "options")


class Editable(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    Base,
):
    """Saved after the model's own checks; ``publishes`` says whether gateways must hear of it."""

    publishes = True

    def perform_create(self, serializer: "BaseSerializer[Any]") -> None:
        serializer.instance = self._save(
            serializer.Meta.model(),  # type: ignore[attr-defined]
            serializer.validated_data,
            is_new=True,
        )

    def perform_update(self, serializer: "BaseSerializer[Any]") -> None:
        self._save(serializer.instance, serializer.validated_data, is_new=False)

    def check(self, instance: Model) -> None:
        """More than ``full_clean`` knows; raises ``ApiError``."""

    def _save(self, instance: Any, values: dict[str, Any], *, is_new: bool) -> Any:
        """A change writes only what was asked for, so that it undoes nothing done meanwhile."""
        with transaction.atomic():
            for name, value in values.items():
                setattr(instance, name, value)
            instance.full_clean()
            self.check(instance)
            instance.save(force_insert=is_new, update_fields=None if is_new else list(values))
            if self.publishes:
                publish_after_commit(tenant_id=tenant_touched(instance))
        return instance


class Deletable(mixins.DestroyModelMixin, Editable):
    """What something else needs is not deleted: 409 ``in_use``."""

    def perform_destroy(self, instance: Any) -> None:
        with transaction.atomic():
            self.check_delete(instance)
            touched = tenant_touched(instance)
            instance.delete()
            if self.publishes:
                publish_after_commit(tenant_id=touched)

    def check_delete(self, instance: Any) -> None:
        """Raises ``ApiError`` for what must stay."""


def user_of(request: Request) -> User | None:
    return request.user if isinstance(request.user, User) else None
