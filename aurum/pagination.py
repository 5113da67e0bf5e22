"""Pages of querysets, for lists that the ORM reads; those that PostgreSQL writes page themselves (markets/pages.py)."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from aurum.cursors import DEFAULT_LIMIT, LIMIT, page_link, read_cursor


class KeysetPagination(BasePagination):
    """Pages a queryset by the view's `ordering`: field names, `-` for descending, unique together and never null."""

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: Any = None) -> list[Model]:
        self.request = request._request
        self.ordering: Sequence[str] = view.ordering
        limit = view.asked.get(LIMIT, DEFAULT_LIMIT)
        cursor = read_cursor(self.request)
        backwards = cursor is not None and cursor.backwards
        ordering = [_reversed(name) for name in self.ordering] if backwards else list(self.ordering)
        if cursor is not None:
            queryset = queryset.filter(_beyond(ordering, cursor.values))
        rows = list(queryset.order_by(*ordering)[: limit + 1])
        more, rows = len(rows) > limit, rows[:limit]
        if backwards:
            rows.reverse()
        self.next_link = self._link(rows[-1:], backwards=False) if (more or backwards) else None
        self.previous_link = self._link(rows[:1], backwards=True) if (more if backwards else cursor) else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.next_link, "previous": self.previous_link})

    def _link(self, rows: Sequence[Model], *, backwards: bool) -> str | None:
        if not rows:
            return None
        values = [str(getattr(rows[0], name.lstrip("-"))) for name in self.ordering]
        return page_link(self.request, values, backwards=backwards)


def _reversed(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def _beyond(ordering: Sequence[str], values: Sequence[str]) -> Q:
    """Rows behind the given values: greater in the first column, or equal there and behind in the others."""
    beyond, equal = Q(), Q()
    for name, value in zip(ordering, values, strict=True):
        column = name.lstrip("-")
        beyond |= equal & Q(**{f"{column}__{'lt' if name.startswith('-') else 'gt'}": value})
        equal &= Q(**{column: value})
    return beyond
