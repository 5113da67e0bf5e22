"""Keyset pagination: a page starts behind the last row of the one before, so that arriving rows shift nothing."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Model, Q, QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework import exceptions
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
LIMIT = "limit"
CURSOR = "cursor"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page starts: behind (or, backwards, before) the row with these values of the ordering."""

    values: list[str]
    backwards: bool


class KeysetPagination(BasePagination):
    """Pages a queryset by the view's `ordering`: field names, `-` for descending, unique together and never null."""

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: Any = None) -> list[Model]:
        self.request = request
        self.ordering: Sequence[str] = view.get_ordering()
        limit = self._limit(request)
        cursor = self._cursor(request)
        backwards = cursor is not None and cursor.backwards
        ordering = [_reversed(name) for name in self.ordering] if backwards else list(self.ordering)
        if cursor is not None:
            queryset = queryset.filter(_beyond(queryset, ordering, cursor.values))
        rows = list(queryset.order_by(*ordering)[: limit + 1])
        more, rows = len(rows) > limit, rows[:limit]
        if backwards:
            rows.reverse()
        self.next_cursor = self._link(rows[-1:], backwards=False) if (more or backwards) else None
        self.previous_cursor = self._link(rows[:1], backwards=True) if (more if backwards else cursor) else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.next_cursor, "previous": self.previous_cursor})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri", "example": None}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {"results": schema, "next": link, "previous": link},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        return [
            {
                "name": LIMIT,
                "in": "query",
                "description": "Rows a page.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
            },
            {
                "name": CURSOR,
                "in": "query",
                "description": "From `next` or `previous` of another page of the same query.",
                "schema": {"type": "string"},
            },
        ]

    def _limit(self, request: Request) -> int:
        raw = request.query_params.get(LIMIT, str(DEFAULT_LIMIT))
        if not (raw.isascii() and raw.isdigit() and len(raw) <= 6 and 1 <= int(raw) <= MAX_LIMIT):
            raise exceptions.ValidationError({LIMIT: [f"Must be a whole number from 1 to {MAX_LIMIT}."]})
        return int(raw)

    def _fingerprint(self) -> str:
        """Names the query, so that a cursor of another one is refused."""
        query = sorted(
            (name, value) for name, value in self.request.query_params.items() if name not in (CURSOR, LIMIT)
        )
        text = json.dumps([self.request.path, list(self.ordering), query])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _link(self, rows: Sequence[Model], *, backwards: bool) -> str | None:
        if not rows:
            return None
        values = [_as_text(getattr(rows[0], name.lstrip("-"))) for name in self.ordering]
        text = json.dumps([self._fingerprint(), backwards, values], separators=(",", ":"))
        cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        return replace_query_param(self.request.build_absolute_uri(), CURSOR, cursor)

    def _cursor(self, request: Request) -> Cursor | None:
        raw = request.query_params.get(CURSOR)
        if raw is None:
            return None
        try:
            fingerprint, backwards, values = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
            well_formed = isinstance(backwards, bool) and all(isinstance(value, str) for value in values)
            if well_formed and fingerprint == self._fingerprint() and len(values) == len(self.ordering):
                return Cursor(values, backwards)
        except (ValueError, TypeError, RecursionError):
            pass
        raise exceptions.ValidationError({CURSOR: ["Not a cursor of this query."]})


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _reversed(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def _beyond(queryset: QuerySet, ordering: Sequence[str], texts: Sequence[str]) -> Q:
    """Rows behind the given values: greater in the first column, or equal there and behind in the others."""
    beyond, equal = Q(), Q()
    for name, text in zip(ordering, texts, strict=True):
        column = name.lstrip("-")
        value = _parsed(queryset, column, text)
        beyond |= equal & Q(**{f"{column}__{'lt' if name.startswith('-') else 'gt'}": value})
        equal &= Q(**{column: value})
    return beyond


def _parsed(queryset: QuerySet, column: str, text: str) -> Any:
    """A cursor's text as a value of the column, which may be an annotation."""
    try:
        field: Any = queryset.model._meta.get_field(column)
    except FieldDoesNotExist:
        field = queryset.query.annotations[column].output_field
    try:
        value = parse_datetime(text) if field.get_internal_type() == "DateTimeField" else field.to_python(text)
    except (ValidationError, ValueError, OverflowError):
        value = None
    if value is None or (isinstance(value, datetime) and value.tzinfo is None):
        raise exceptions.ValidationError({CURSOR: ["Not a cursor of this query."]})
    return value
