"""Rows as plain structs, read by one query and written by COPY: what thousands of rows a second can afford.

A row class has a model's columns, and nothing of its machinery. Values are in the simplest form that is exact: ids as
text, amounts as ints, times as Unix seconds.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, ClassVar, TypeVar

import msgspec
from django.db import connection, models

from aurum.database import is_pipelined
from markets.chaintime import from_seconds
from markets.fields import HexListField, IntegerColumn, Uint256ListField

FEW = 20  # rows up to which a COPY would not pay; in a pipeline there is none
CHUNK = 1000  # rows that are handed to a COPY at once
PARAMETERS = 65_535  # of one statement, by PostgreSQL's protocol

T = TypeVar("T", bound="Record")


class Record(msgspec.Struct, gc=False):
    """What row classes share. `table` is set by `table_of`, which binds a class to its model."""

    table: ClassVar["Table"]


class Row(Record, gc=False):
    """A row that is found by its id, which follows from what it is about (identity.py)."""

    id: str


class Column:
    """How one column is read and written: SQL that selects it, and functions between its text and its value.

    `text` gives the value as PostgreSQL reads it, None being NULL; `expression` is Python that gives it as COPY reads
    it, of a row called `row` and with `functions` by name.
    """

    def __init__(self, field: Any) -> None:
        self.name = field.column
        self.select = field.column
        self.read: Callable[[Any], Any] | None = None
        self.write: Callable[[Any], str] = str
        if isinstance(field, Uint256ListField):
            self.select, self.read, self.write = f"{self.name}::text", _read_integers, _integers
        elif isinstance(field, IntegerColumn):
            self.select, self.read = f"{self.name}::text", int
        elif field.db_type(connection) == "uuid":
            self.select = f"{self.name}::text"
        elif isinstance(field, models.DateTimeField):
            self.select, self.write = f"extract(epoch FROM {self.name})::bigint", _time
        elif isinstance(field, HexListField):
            self.select, self.read, self.write = f"{self.name}::text", msgspec.json.decode, _words
        elif isinstance(field, models.JSONField):
            self.select, self.read, self.write = f"{self.name}::text", msgspec.json.decode, _json
        elif isinstance(field, models.BinaryField):
            self.select, self.write = f"'0x' || encode({self.name}, 'hex')", _bytes
        self.functions: dict[str, Callable[[Any], Any]] = {}
        self.expression = self._expression(field)

    def text(self, value: Any) -> str | None:
        return None if value is None else self.write(value)

    def _expression(self, field: Any) -> str:
        value, write = f"row.{field.attname}", self.write
        # Of what we write, only these may hold characters that COPY takes for its own; hardly any does.
        if isinstance(field, models.TextField) or type(field) is models.CharField:
            self.functions |= {"special": SPECIAL.search, "escaped": _escaped(write)}
            text = f"{value} if special({value}) is None else escaped({value})"
            return f"NULL if {value} is None else ({text})" if field.null else text
        if write in (_json, _bytes):
            write = _escaped(write)
        if write is not str:
            name = f"write_{field.attname}"
            self.functions[name] = write
            return f"NULL if {value} is None else {name}({value})" if field.null else f"{name}({value})"
        return f"NULL if {value} is None else {value}" if field.null else value


ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
SPECIAL = re.compile(r"[\\\n\r\t]")


def _escaped(write: Callable[[Any], str]) -> Callable[[Any], str]:
    if write is _bytes:
        return lambda value: "\\" + _bytes(value)
    if write is _json:  # which escapes all control characters itself
        return lambda value: _json(value).replace("\\", "\\\\")
    return lambda value: value.translate(ESCAPES)


def _line_writer(columns: Sequence[Column]) -> Callable[[Sequence[Record]], str]:
    """Rows -> lines as COPY reads them: compiled for these columns, as a loop over them takes three times as long."""
    line = "\\t".join(f"{{{column.expression}}}" for column in columns)
    names: dict[str, Any] = {"NULL": "\\N"}
    for column in columns:
        names |= column.functions
    exec(f'def lines(rows):\n    return "".join([f"{line}\\n" for row in rows])', names)  # noqa: S102
    return names["lines"]


class Table:
    """A model's table, for one row class, whose fields are the columns that are read and written."""

    def __init__(self, model: type[models.Model], row_class: type[Record]) -> None:
        self.model = model
        self.row_class = row_class
        self.name = model._meta.db_table

    @cached_property
    def columns(self) -> list[Column]:
        """The columns in the order of the row class's fields."""
        fields = {field.attname: field for field in self.model._meta.concrete_fields}
        return [Column(fields[attribute]) for attribute in self.row_class.__struct_fields__]

    # --- reading ---------------------------------------------------------------------------------------------------

    def load(self, condition: str, *parameters: Any) -> list[Any]:
        """The rows that meet an SQL condition."""
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {self._selected} FROM {self.name} WHERE {condition}", parameters)  # noqa: S608
            return [self._row(values) for values in cursor.fetchall()]

    def by_id(self, ids: Sequence[str]) -> dict[str, Any]:
        """The rows that exist of these, by id."""
        # As one text: psycopg takes ten times as long to write an array of texts.
        return {row.id: row for row in self.load("id = ANY(%s::uuid[])", f"{{{','.join(ids)}}}")}

    def stream(self, condition: str, *, size: int) -> Iterator[Any]:
        """The rows that meet an SQL condition, `size` of them in memory at once. Call in a transaction."""
        with connection.chunked_cursor() as cursor:
            cursor.execute(f"SELECT {self._selected} FROM {self.name} WHERE {condition}")  # noqa: S608
            while values := cursor.fetchmany(size):
                yield from map(self._row, values)

    @cached_property
    def _selected(self) -> str:
        return ", ".join(column.select for column in self.columns)

    @cached_property
    def _readers(self) -> list[tuple[int, Callable[[Any], Any]]]:
        return [(place, column.read) for place, column in enumerate(self.columns) if column.read is not None]

    def _row(self, values: Sequence[Any]) -> Record:
        found = list(values)
        for place, read in self._readers:
            if found[place] is not None:
                found[place] = read(found[place])
        return self.row_class(*found)

    # --- writing ---------------------------------------------------------------------------------------------------

    def insert(self, rows: Sequence[Record]) -> None:
        """Adds rows that are known to be new, in their order."""
        if len(rows) > FEW and not is_pipelined():
            self._copy(self.name, rows)
        elif rows:
            self._insert(rows, "")

    def upsert(self, rows: Sequence[Record]) -> None:
        """Adds rows or replaces those with their `id`. No id may come twice."""
        if len(rows) > FEW and not is_pipelined():
            incoming = f"incoming_{self.name}"
            with connection.cursor() as cursor:
                columns = f"(LIKE {self.name} INCLUDING DEFAULTS)"  # of columns that are not written
                cursor.execute(f"CREATE TEMP TABLE IF NOT EXISTS {incoming} {columns} ON COMMIT DELETE ROWS")
                cursor.execute(f"TRUNCATE {incoming}")  # of an earlier write in this transaction
                self._copy(incoming, rows)
                cursor.execute(
                    f"INSERT INTO {self.name} ({self._names}) SELECT {self._names} FROM {incoming} {self._conflict}"  # noqa: S608
                )
        elif rows:
            self._insert(rows, self._conflict)

    def _insert(self, rows: Sequence[Record], conflict: str) -> None:
        one = f"({', '.join(['%s'] * len(self.columns))})"
        most = PARAMETERS // len(self.columns)
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            values = [
                column.text(value) for row in some for column, value in zip(self.columns, _values(row), strict=True)
            ]
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {self.name} ({self._names}) VALUES {', '.join([one] * len(some))} {conflict}",  # noqa: S608
                    values,
                )

    def _copy(self, table: str, rows: Sequence[Record]) -> None:
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({self._names}) FROM STDIN") as copy:
            for start in range(0, len(rows), CHUNK):
                copy.write(self._lines(rows[start : start + CHUNK]))

    @cached_property
    def _lines(self) -> Callable[[Sequence[Record]], str]:
        return _line_writer(self.columns)

    @cached_property
    def _names(self) -> str:
        return ", ".join(column.name for column in self.columns)

    @cached_property
    def _conflict(self) -> str:
        changes = ", ".join(f"{column.name} = excluded.{column.name}" for column in self.columns if column.name != "id")
        return f"ON CONFLICT (id) DO UPDATE SET {changes}"


_values = msgspec.structs.astuple


def table_of(model: type[models.Model]) -> Callable[[type[T]], type[T]]:
    """Binds a row class to its model."""

    def bind(row_class: type[T]) -> type[T]:
        row_class.table = Table(model, row_class)
        return row_class

    return bind


@lru_cache(maxsize=4096)  # the rows of one block share theirs
def _time(seconds: int) -> str:
    return from_seconds(seconds).isoformat()


def _integers(values: Iterable[int]) -> str:
    return '["' + '","'.join(map(str, values)) + '"]' if values else "[]"


def _read_integers(text: str) -> list[int]:
    return [int(value) for value in msgspec.json.decode(text)]


def _bytes(digits: str) -> str:
    return "\\x" + digits[2:]


def _words(words: Iterable[str]) -> str:
    return '["' + '","'.join(words) + '"]' if words else "[]"


def _json(value: Any) -> str:
    """JSON text; a str is taken to be that already."""
    return value if type(value) is str else msgspec.json.encode(value).decode()
