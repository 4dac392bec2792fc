"""All tenants or some: what a whole snapshot and a delta read differently."""

from collections.abc import Collection
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

Only = Collection[UUID] | None
"""Tenant ids; None: all."""

M = TypeVar("M", bound=Model)


def of_tenants(rows: "QuerySet[M]", path: str, only: Only) -> "QuerySet[M]":
    """The rows whose tenant, at ``path``, is among them."""
    return rows if only is None else rows.filter(**{f"{path}__in": only})
