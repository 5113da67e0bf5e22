"""Query parameters as one table an endpoint: how each is read, and how OpenAPI describes it.

An unknown parameter, one given twice, one with a NUL, a malformed or a missing one is 400 with an error by its name.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from django.http import QueryDict
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions

HEX = {20: re.compile(r"0x[0-9a-fA-F]{40}"), 32: re.compile(r"0x[0-9a-fA-F]{64}")}
DIGITS = re.compile(r"[0-9]{1,80}")
DECIMAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,18})?")
UUID_FORM = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One query parameter. `read` makes a value of the text, or raises ValueError that says what it must be."""

    name: str
    read: Callable[[str], Any]
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    description: str = ""
    required: bool = False

    def documented(self) -> OpenApiParameter:
        """The parameter as drf-spectacular takes it."""
        return OpenApiParameter(
            self.name, dict(self.schema), OpenApiParameter.QUERY, required=self.required, description=self.description
        )


def read_parameters(query: QueryDict, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The values of the parameters that were given, by name. Raises ValidationError for what is not as it must be."""
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, texts in query.lists():
        parameter = known.get(name)
        if parameter is None:
            errors[name] = ["Unknown parameter."]
        elif len(texts) > 1:
            errors[name] = ["Given more than once."]
        elif "\x00" in texts[0]:
            errors[name] = ["Must not contain NUL."]
        else:
            try:
                values[name] = parameter.read(texts[0])
            except ValueError as error:
                errors[name] = [str(error)]
    for name, parameter in known.items():
        if parameter.required and name not in query:
            errors[name] = ["Must be given."]
    if errors:
        raise exceptions.ValidationError(errors)
    return values


def in_path(name: str, pattern: str, description: str, example: str) -> OpenApiParameter:
    """A part of a path, which its view reads itself."""
    schema = {"type": "string", "pattern": f"^({pattern})$", "examples": [example]}
    return OpenApiParameter(name, schema, OpenApiParameter.PATH, description=description)


EITHER_ID = f"{UUID_FORM.pattern}|{HEX[32].pattern}"
MARKET_ID = in_path("id", EITHER_ID, "The market's UUID, or its 0x… marketId.", "0x" + "ab" * 32)
QUESTION_ID = in_path("id", EITHER_ID, "The question's UUID, or its 0x… questionId.", "0x" + "cd" * 32)
ADDRESS = in_path("address", HEX[20].pattern, "0x and 40 hexadecimal digits, in any case.", "0x" + "1a" * 20)


def by_name(*parameters: Parameter) -> dict[str, Parameter]:
    """A table of parameters."""
    return {parameter.name: parameter for parameter in parameters}


# --- kinds ------------------------------------------------------------------------------------------------------------


def hex_word(name: str, byte_length: int, description: str = "") -> Parameter:
    """An address (20 bytes) or 32-byte word, written in any case; read in lower case."""

    def read(text: str) -> str:
        if not HEX[byte_length].fullmatch(text):
            raise ValueError(f"Must be 0x and {2 * byte_length} hexadecimal digits.")
        return text.lower()

    schema = {"type": "string", "pattern": f"^0x[0-9a-fA-F]{{{2 * byte_length}}}$"}
    return Parameter(name=name, read=read, schema=schema, description=description)


def choice(name: str, choices: Sequence[str], description: str = "", *, required: bool = False) -> Parameter:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"Must be one of {', '.join(choices)}.")
        return text

    schema = {"type": "string", "enum": list(choices)}
    return Parameter(name=name, read=read, schema=schema, description=description, required=required)


def integer(
    name: str,
    minimum: int,
    maximum: int,
    description: str = "",
    default: int | None = None,
    *,
    required: bool = False,
) -> Parameter:
    """A whole number within its bounds."""

    def read(text: str) -> int:
        if not DIGITS.fullmatch(text) or not text.isascii() or not minimum <= int(text) <= maximum:
            raise ValueError(f"Must be a whole number from {minimum} to {maximum}.")
        return int(text)

    schema: dict[str, Any] = {"type": "integer", "minimum": minimum, "maximum": maximum}
    if default is not None:
        schema["default"] = default
    return Parameter(name=name, read=read, schema=schema, description=description, required=required)


def amount(name: str, description: str = "") -> Parameter:
    """An amount in base units, above 0."""

    def read(text: str) -> int:
        if not DIGITS.fullmatch(text) or not 0 < int(text) < 2**256:
            raise ValueError("Must be a whole number from 1 to 2^256 - 1.")
        return int(text)

    schema = {"type": "string", "pattern": "^[0-9]{1,80}$", "examples": ["1000000"]}
    return Parameter(name=name, read=read, schema=schema, description=description)


def share(name: str, description: str = "", default: float | None = None) -> Parameter:
    """A decimal number from 0 to 1, read exactly as it is written."""

    def read(text: str) -> Fraction:
        if not DECIMAL.fullmatch(text) or Fraction(text) > 1:
            raise ValueError("Must be a decimal number from 0 to 1, such as 0.01.")
        return Fraction(text)

    schema: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
    if default is not None:
        schema["default"] = default
    return Parameter(name=name, read=read, schema=schema, description=description)


def text(name: str, max_length: int, description: str = "") -> Parameter:
    """Any text of so many characters at most."""

    def read(value: str) -> str:
        if not 0 < len(value) <= max_length:
            raise ValueError(f"Must have 1 to {max_length} characters.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("Must be valid Unicode.")
        return value

    schema = {"type": "string", "minLength": 1, "maxLength": max_length, "pattern": "^[^\\u0000]*$"}
    return Parameter(name=name, read=read, schema=schema, description=description)


def moment(name: str, description: str = "") -> Parameter:
    """A time with its offset, ISO 8601; read in UTC."""

    def read(value: str) -> datetime:
        try:
            parsed = parse_datetime(value)
            if parsed is not None and parsed.tzinfo is not None:
                return parsed.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise ValueError("Must be a time such as 2026-01-31T12:00:00Z.")

    return Parameter(name=name, read=read, schema={"type": "string", "format": "date-time"}, description=description)
