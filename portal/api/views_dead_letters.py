"""Requests that crashed workers twice. They are in Redis: without it there is no answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_hooks.contract.dead_letters import DeadLetter
from portal.api.errors import ApiError
from portal.api.serializers_promises import DeadLetterSerializer
from portal.api.views_base import Base, user_of
from portal.core.redis import REDIS_AWAY
from portal.fleet.dead_letters import dead_letters, find_dead_letter, letter_id, release

_ID = OpenApiParameter("id", OpenApiTypes.STR, OpenApiParameter.PATH)


@dataclass(frozen=True)
class _Shown:
    letter: DeadLetter

    @property
    def id(self) -> str:
        return letter_id(self.letter)

    def __getattr__(self, name: str) -> str | int | datetime | tuple[str, ...]:
        value: str | int | datetime | tuple[str, ...] = getattr(self.letter, name)
        return value


class DeadLetterViewSet(Base):
    """Requests that crashed workers twice and are refused since. DELETE lets one run again."""

    serializer_class = DeadLetterSerializer
    lookup_value_regex = "[^/]+"
    http_method_names = ("get", "delete", "head", "options")
    action_permissions = {
        "list": ("usage.view_gatewayusage", "fleet.view_pool"),
        "retrieve": ("usage.view_gatewayusage", "fleet.view_pool"),
        "metadata": ("usage.view_gatewayusage", "fleet.view_pool"),
        "destroy": ("fleet.change_pool",),
    }

    @extend_schema(parameters=[OpenApiParameter("tenant", str)], responses=DeadLetterSerializer(many=True))
    def list(self, request: Request, **_kwargs: str) -> Response:
        with _redis():
            found = dead_letters(tenant_id=request.query_params.get("tenant"))
        return Response(DeadLetterSerializer([_Shown(one) for one in found], many=True).data)

    @extend_schema(parameters=[_ID], responses=DeadLetterSerializer)
    def retrieve(self, _request: Request, pk: str, **_kwargs: str) -> Response:
        with _redis():
            return Response(DeadLetterSerializer(_Shown(find_dead_letter(pk))).data)

    @extend_schema(parameters=[_ID], responses={204: None})
    def destroy(self, request: Request, pk: str, **_kwargs: str) -> Response:
        with _redis():
            release(pk, user=user_of(request))
        return Response(status=204)


@contextmanager
def _redis() -> Iterator[None]:
    try:
        yield
    except REDIS_AWAY as error:
        message = "Redis cannot be reached. Try again when it is back."
        raise ApiError(message, code="redis_away", status=503) from error
