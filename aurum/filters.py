"""Query parameters are checked: an unknown one is 400, never silently ignored."""

import re
from typing import Any

from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django_filters import CharFilter
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import exceptions
from rest_framework.request import Request

from aurum.pagination import CURSOR, LIMIT

HEX = {20: re.compile(r"0x[0-9a-fA-F]{40}"), 32: re.compile(r"0x[0-9a-fA-F]{64}")}


def hex_parameter(name: str, value: str, byte_length: int) -> str:
    """An address or 32-byte word from a path or query, in lower case; a malformed one is 400."""
    if not HEX[byte_length].fullmatch(value):
        raise exceptions.ValidationError({name: [_wrong_form(byte_length)]})
    return value.lower()


def _wrong_form(byte_length: int) -> str:
    return f"Must be 0x and {2 * byte_length} hexadecimal digits."


class HexFilter(CharFilter):
    """Filters by an address (20 bytes) or 32-byte word, written in any case."""

    def __init__(self, *args: Any, byte_length: int, **kwargs: Any) -> None:
        # By the form, whose errors bear the parameter's name.
        well_formed = RegexValidator(rf"\A{HEX[byte_length].pattern}\Z", _wrong_form(byte_length))
        super().__init__(*args, validators=[well_formed], **kwargs)

    def filter(self, qs: QuerySet, value: str) -> QuerySet:
        return super().filter(qs, value.lower())


def refuse_unknown(request: Request, known: set[str]) -> None:
    """400 for a parameter that the endpoint does not have, or that is given twice, or holds a NUL."""
    errors: dict[str, list[str]] = {}
    for name, values in request.query_params.lists():
        if name not in known:
            errors[name] = ["Unknown parameter."]
        elif len(values) > 1:
            errors[name] = ["Given more than once."]
        elif "\x00" in values[0]:
            errors[name] = ["Must not contain NUL."]
    if errors:
        raise exceptions.ValidationError(errors)


class StrictFilterBackend(DjangoFilterBackend):
    """django-filter, for lists that also page."""

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        filterset_class = self.get_filterset_class(view, queryset)
        known = {CURSOR, LIMIT} | set(filterset_class.base_filters if filterset_class else ())
        refuse_unknown(request, known)
        return super().filter_queryset(request, queryset, view)
