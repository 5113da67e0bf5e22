"""Serializers that PostgreSQL fills: each field names the SQL expression that it shows, and how that becomes JSON.

A row comes out of the database as finished JSON text; OpenAPI is made of the same fields, so that the two can't differ.
What needs exact arithmetic is a `Computed`: a Python function of a few expressions, put behind the rest.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from djangorestframework_camel_case.util import camelize_re, underscore_to_camel
from drf_spectacular.drainage import set_override
from rest_framework import serializers

MOMENT = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
AMOUNT = {"type": "string", "pattern": "^[0-9]+$", "examples": ["1000000000000000000"]}
SIGNED = {"type": "string", "pattern": "^-?[0-9]+$", "examples": ["-1000000000000000000"]}


class Column(serializers.Field):
    """A field of a row: `sql` is its expression. `quoted` where its text needs quotes, and no escapes."""

    quoted = False
    form = "{}"  # what makes text of the expression
    schema: dict[str, Any] = {}

    def __init__(self, sql: str, *, null: bool = False, **kwargs: Any) -> None:
        self.sql = sql
        super().__init__(read_only=True, allow_null=null, **kwargs)
        set_override(self, "field", self.described())

    def described(self) -> Any:
        """The field in OpenAPI."""
        return self.schema

    def template(self) -> tuple[str, list[str]]:
        """The column as a part of PostgreSQL's format(): a template, and the expressions for it."""
        expression = self.form.format(self.sql)
        if not self.allow_null:
            return ('"%s"' if self.quoted else "%s"), [expression]
        if self.quoted:
            return "%s", [f"coalesce('\"' || {expression} || '\"', 'null')"]
        return "%s", [f"coalesce({expression}::text, 'null')"]


class Word(Column):
    """An id, hash, address or name of ours: no character of it needs an escape."""

    quoted = True
    form = "{}::text"
    schema = {"type": "string"}

    def __init__(self, sql: str, *, choices: Sequence[str] = (), **kwargs: Any) -> None:
        if choices:
            self.schema = self.schema | {"enum": [*choices, *([None] if kwargs.get("null") else [])]}
        super().__init__(sql, **kwargs)


class Identity(Word):
    """A row's UUID."""

    schema = {"type": "string", "format": "uuid"}


class Address(Word):
    schema = {"type": "string", "pattern": "^0x[0-9a-f]{40}$"}


class Bytes32(Word):
    schema = {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}


class Amount(Column):
    """An integer in base units, as a decimal string: JSON numbers lose digits."""

    schema = AMOUNT

    quoted = True
    form = "{}::text"


class SignedAmount(Amount):
    """An amount that may be below zero."""

    schema = SIGNED


class Amounts(Column):
    """Amounts by outcome, from a column that holds them as JSON."""

    schema = {"type": "array", "items": AMOUNT}


class Text(Column):
    """Text that people or contracts wrote."""

    schema = {"type": "string"}

    form = "to_json(({})::text)"


class Integer(Column):
    schema = {"type": "integer"}


class Flag(Column):
    schema = {"type": "boolean"}
    form = "({})::text"


class Moment(Column):
    """A time, in seconds, UTC."""

    schema = {"type": "string", "format": "date-time"}

    quoted = True
    form = MOMENT


class Texts(Column):
    """A list of texts, from a column that holds them as JSON."""

    schema = {"type": "array", "items": {"type": "string"}}


class Nested(Column):
    """An object of its own; `sql` says whether there is one, where it may be null."""

    def __init__(self, serializer: type[serializers.Serializer], sql: str = "", **kwargs: Any) -> None:
        self.serializer = serializer
        super().__init__(sql, null=bool(sql), **kwargs)

    def described(self) -> Any:
        return self.serializer(read_only=True)

    def template(self) -> tuple[str, list[str]]:
        columns = row_of(self.serializer)
        if not self.allow_null:
            return columns.template, columns.arguments
        return "%s", [f"CASE WHEN {self.sql} THEN {columns.formatted()} ELSE 'null' END"]


class Computed(Column):
    """JSON text that `function` makes of the texts of `inputs` (None where they are null)."""

    def __init__(
        self, function: Callable[..., str], inputs: Sequence[str], schema: dict[str, Any], **kwargs: Any
    ) -> None:
        self.function, self.inputs, self.schema = function, tuple(inputs), schema
        super().__init__("", **kwargs)


class Finish(NamedTuple):
    """One computed field of a row: where its inputs stand behind the row's text."""

    key: str
    function: Callable[..., str]
    start: int
    stop: int


class JsonRow(NamedTuple):
    """How a serializer's rows come out of SQL."""

    template: str
    arguments: list[str]
    inputs: list[str]
    finishes: list[Finish]

    def formatted(self) -> str:
        """The SQL expression of a row's JSON text."""
        return f"format('{self.template}', {', '.join(self.arguments)})"

    def columns(self) -> list[str]:
        """The select list: the row's JSON text, then what its computed fields need."""
        return [self.formatted(), *(f"({sql})::text" for sql in self.inputs)]

    def finish(self, row: Sequence[Any]) -> str:
        """A selected row's JSON, computed fields and all."""
        text: str = row[0]
        if not self.finishes:
            return text
        added = [f',"{key}":{function(*row[start:stop])}' for key, function, start, stop in self.finishes]
        return f"{text[:-1]}{''.join(added)}}}"


def wire_name(name: str) -> str:
    """A field's name in JSON."""
    return camelize_re.sub(underscore_to_camel, name)


@cache
def row_of(serializer: type[serializers.Serializer]) -> JsonRow:
    """What SQL makes a row of this serializer."""
    parts: list[str] = []
    arguments: list[str] = []
    inputs: list[str] = []
    finishes: list[Finish] = []
    columns: dict[str, Any] = dict(serializer().fields)
    for name, column in columns.items():
        key = wire_name(name)
        if isinstance(column, Computed):
            start = 1 + len(inputs)
            inputs += column.inputs
            finishes.append(Finish(key, column.function, start, 1 + len(inputs)))
            continue
        template, expressions = column.template()
        parts.append(f'"{key}":{template}')
        arguments += expressions
    return JsonRow("{" + ",".join(parts) + "}", arguments, inputs, finishes)
