"""Keyset cursors and page links: opaque to clients, signed, and good for the one query that they were made for."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from rest_framework import exceptions
from rest_framework.utils.urls import replace_query_param

from aurum.parameters import Parameter, by_name, integer

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
LIMIT = "limit"
CURSOR = "cursor"
PAGING = by_name(
    integer(LIMIT, 1, MAX_LIMIT, "Rows a page.", default=DEFAULT_LIMIT),
    Parameter(name=CURSOR, read=str, description="From `next` or `previous` of another page of the same query."),
)
PAGE_KEYS = ("results", "next", "previous")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page starts: behind (or, backwards, before) the row with these values of the ordering, as SQL texts."""

    values: list[str]
    backwards: bool


def read_cursor(request: HttpRequest) -> Cursor | None:
    """The request's cursor. Raises ValidationError for one that we did not give for this very query."""
    raw = request.GET.get(CURSOR)
    if raw is None:
        return None
    try:
        signature, backwards, values = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
        if hmac.compare_digest(signature, _signature(request, backwards, values)):
            return Cursor(values, backwards)
    except (ValueError, TypeError, RecursionError):
        pass
    raise exceptions.ValidationError({CURSOR: ["Not a cursor of this query."]})


def page_link(request: HttpRequest, values: Sequence[str], *, backwards: bool) -> str:
    """The address of the page behind (or before) the row with these values of the ordering."""
    text = json.dumps([_signature(request, backwards, values), backwards, list(values)], separators=(",", ":"))
    cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    return replace_query_param(request.build_absolute_uri(), CURSOR, cursor)


def _signature(request: HttpRequest, backwards: bool, values: Sequence[str]) -> str:
    """Binds a cursor to its query: what is signed can be compared with columns without another look at it."""
    query = sorted((name, value) for name, value in request.GET.items() if name not in (CURSOR, LIMIT))
    text = json.dumps([request.path, query, backwards, list(values)])
    return hmac.new(settings.SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()[:24]
