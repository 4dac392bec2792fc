"""What all views of the API share."""

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, QuerySet
from rest_framework import mixins
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from portal.api.idempotency import IdempotentMixin
from portal.snapshots.services import publish_after_commit

Filters = dict[str, str]


class Base(IdempotentMixin, GenericViewSet):  # type: ignore[type-arg]
    """Without PUT: a partial change says what it means."""

    http_method_names = ("get", "post", "patch", "delete", "head", "options")
    filters: Filters = {}
    """Query parameter -> lookup of an exact match; other values than the column takes find nothing."""

    def filter_queryset(self, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        queryset = super().filter_queryset(queryset)
        for name, lookup in self.filters.items():
            if (value := self.request.query_params.get(name)) is not None:
                queryset = _exactly(queryset, lookup, value)
        return queryset


def _exactly(queryset: "QuerySet[Any]", lookup: str, value: str) -> "QuerySet[Any]":
    field: Any = queryset.model
    for part in lookup.split("__"):
        field = (field if isinstance(field, type) else field.related_model)._meta.get_field(part)
    try:
        (field.target_field if field.is_relation else field).to_python(value)
    except ValidationError:
        return queryset.none()
    return queryset.none() if "\x00" in value else queryset.filter(**{lookup: value})


class ReadOnly(mixins.ListModelMixin, mixins.RetrieveModelMixin, Base):
    http_method_names = ("get", "head", "options")


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
        serializer.instance = self._save(serializer.Meta.model(), serializer.validated_data)  # type: ignore[attr-defined]

    def perform_update(self, serializer: "BaseSerializer[Any]") -> None:
        self._save(serializer.instance, serializer.validated_data)

    def check(self, instance: Model) -> None:
        """More than ``full_clean`` knows."""

    def _save(self, instance: Any, values: dict[str, Any]) -> Any:
        with transaction.atomic():
            for name, value in values.items():
                setattr(instance, name, value)
            instance.full_clean()
            self.check(instance)
            instance.save()
            if self.publishes:
                publish_after_commit()
        return instance


def user_of(request: Request) -> User | None:
    return request.user if isinstance(request.user, User) else None
