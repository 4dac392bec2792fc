"""Pages. Lists that grow without end are never counted: they are walked with a cursor."""

from rest_framework.pagination import CursorPagination, LimitOffsetPagination
from rest_framework.request import Request


class Pages(LimitOffsetPagination):
    default_limit = 50
    max_limit = 500
    max_offset = 1_000_000

    def get_offset(self, request: Request) -> int:
        """More than a bigint would be an error in the database."""
        return min(super().get_offset(request), self.max_offset)


class Newest(CursorPagination):
    """Newest first, by time and then by id, so that no row is missed or repeated."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 500
    ordering = ("-ts", "-pk")
