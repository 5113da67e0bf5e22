"""Answers that PostgreSQL writes: one statement gives a page's rows as JSON, and the block that they are true at.

One statement is one snapshot: no commit of the indexer can make half of an answer newer. `now` is in every statement's
reach: the checkpoint (`block_number`, `safe`, `final`, its `time`), `day_ago`, the last block that is 24 hours older,
and `parent`, what the path names.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest
from psycopg.errors import QueryCanceled
from rest_framework import exceptions, serializers

from aurum.cursors import CURSOR, DEFAULT_LIMIT, LIMIT, MAX_LIMIT, PAGING, Cursor, page_link, read_cursor
from aurum.database import passes
from aurum.parameters import Parameter, by_name, choice, read_parameters
from aurum.sources import Attempt, Server, Sources
from aurum.sqljson import JsonRow, row_of

# Every answer's version: what it shows can change with each of these, and with nothing else.
VERSION = f"""
    concat_ws('-', '{settings.VERSION}', c.block_number, substr(c.block_hash, 3, 16), c.safe_block, c.finalized_block,
              r.number, e.last)
"""
# Corrections end by themselves: `e` is when one last did, null where none has.
EXPIRIES = "market_corrections WHERE since IS NOT NULL AND revoked_at IS NULL AND expires_at"
CHANGES = f"""
    (SELECT coalesce((SELECT number FROM revision), 0) AS number) r
    CROSS JOIN (SELECT (extract(epoch FROM max(expires_at)) * 1000000)::bigint AS last FROM {EXPIRIES} <= now()) e
    LEFT JOIN checkpoint c ON true
"""  # noqa: S608
# And in how many seconds the next one does.
ETAG_NOW = f"""
    SELECT 'W/"' || {VERSION} || '"',
           (SELECT extract(epoch FROM min(expires_at) - now())::float8 FROM {EXPIRIES} > now())
    FROM {CHANGES}
"""  # noqa: S608
NOW = f"""
    SELECT c.block_number, {VERSION} AS version, coalesce(c.block_timestamp, now()) AS time,
           coalesce(c.safe_block, -1) AS safe, coalesce(c.finalized_block, -1) AS final, {{parent}} AS parent{{more}}
    FROM {CHANGES}
"""  # noqa: S608
DAY_AGO = """,
           coalesce((SELECT b.number FROM indexed_blocks b
                     WHERE b.timestamp <= coalesce(c.block_timestamp, now()) - interval '24 hours'
                     ORDER BY b.timestamp DESC, b.number DESC LIMIT 1), -1) AS day_ago
"""
STATEMENT = f"""
WITH now AS MATERIALIZED ({NOW})
SELECT now.block_number, now.version, now.parent, page.* FROM now LEFT JOIN LATERAL (
    SELECT {{columns}} FROM {{source}} WHERE {{where}} {{rest}}
) page ON true
"""  # noqa: S608
# Rows of a page that are read at least, beside the one that tells whether there are more. They stand in the statement:
# PostgreSQL plans a LIMIT that is a value for a tenth of the table, or anew each time.
STEPS = (5, 10, 20, 50, 100, MAX_LIMIT)
HEAD = 3  # columns of `now` before a row's own

T = TypeVar("T")

sources = Sources(has_replica=settings.REPLICA is not None)
SERVERS = {Server.PRIMARY: settings.READS, Server.REPLICA: settings.REPLICA or settings.READS}
# The last block that the client at hand has seen; None where its answer is read on the primary, whatever it is.
_seen: ContextVar[int | None] = ContextVar("seen", default=None)
# Where the statements of `read_at_once` are carried out.
_on: ContextVar[str | None] = ContextVar("on", default=None)


class Behind(Exception):
    """The replica has no answer that is new enough for the client."""


class Position(NamedTuple):
    """Where in the chain an answer stands; `block_number` is None while nothing is indexed."""

    block_number: int | None
    version: str

    @property
    def etag(self) -> str:
        """As ETAG_NOW: weak, for the same answer may be compressed or not."""
        return f'W/"{self.version}"'


class Answer(NamedTuple):
    """A body of JSON, and what it is true at."""

    position: Position
    body: str


class Plan(NamedTuple):
    """An answer that one statement gives; `answer` makes it of the rows, or raises NotFound."""

    statement: str
    values: Mapping[str, Any]
    answer: Callable[[list[Any]], Answer]


class Key(NamedTuple):
    """One column of an ordering: never null; `type` is its SQL type."""

    sql: str
    type: str
    descending: bool = False


class Filter(NamedTuple):
    """A parameter, and the condition that it puts on rows, with the value as %(name)s."""

    parameter: Parameter
    sql: str


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of one kind. `parent` is an expression of what the path names, null where that does not exist (404).

    `missing` is said where a single row is wanted and there is none.
    """

    serializer: type[serializers.Serializer]
    source: str
    where: str = "true"
    parent: str = "true"
    missing: str | None = None

    @cached_property
    def row(self) -> JsonRow:
        return row_of(self.serializer)

    def statement(self, columns: Sequence[str], where: str, rest: str = "") -> str:
        """The whole statement. What is not a value of ours stands in it as a named parameter."""
        select = ", ".join(column.replace("%", "%%") for column in columns)
        more = DAY_AGO if "now.day_ago" in select + self.source + where + rest else ""
        parts = {"parent": self.parent, "columns": select, "source": self.source, "where": where, "rest": rest}
        # psycopg keeps what it has made of a statement, up to 4,096 characters.
        return " ".join(STATEMENT.format(**parts, more=more).split())

    def read(self, columns: Sequence[str], values: Mapping[str, Any]) -> tuple[Position, list[Any]]:
        """All rows, as these columns, of which the first is never null. Raises NotFound without what the path names."""
        return _found(_carried_out(self.statement(columns, self.where), values))

    def plan(self, values: Mapping[str, Any]) -> Plan:
        """How the single row that `where` leaves is read; none is NotFound."""
        return Plan(self.statement(self.row.columns(), self.where), values, self._only)

    def _only(self, rows: list[Any]) -> Answer:
        position, found = _found(rows)
        if not found:
            raise exceptions.NotFound(self.missing)
        return Answer(position, self.row.finish(found[0]))


@dataclass(frozen=True, kw_only=True)
class Listing(Rows):
    """A list in pages. An ordering has one direction and ends with what tells rows apart; the first is the default."""

    filters: Sequence[Filter] = ()
    orders: Mapping[str, tuple[Key, ...]] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """What the endpoint takes."""
        ordering = [choice("ordering", list(self.orders))] if len(self.orders) > 1 else []
        return by_name(*(filter.parameter for filter in self.filters), *ordering) | PAGING

    def page(self, request: HttpRequest, values: Mapping[str, Any]) -> Plan:
        """How one page is read as the request asks for it; `values` are those of the path. Raises ValidationError."""
        asked = read_parameters(request.GET, self.parameters)
        cursor = read_cursor(request)
        limit = asked.pop(LIMIT, DEFAULT_LIMIT)
        asked.pop(CURSOR, None)
        order = asked.pop("ordering", next(iter(self.orders)))
        direction = None if cursor is None else cursor.backwards
        rows_read = 1 + next(step for step in STEPS if step >= limit)
        statement = _page_statement(self, tuple(sorted(asked)), order, direction, rows_read)

        def answer(rows: list[Any]) -> Answer:
            position, found = _found(rows)
            return Answer(position, self._body(request, found, limit, cursor, len(self.orders[order])))

        return Plan(statement, {**values, **asked, **_cursor_values(cursor)}, answer)

    def _body(self, request: HttpRequest, rows: list[Any], limit: int, cursor: Cursor | None, keys: int) -> str:
        more, rows = len(rows) > limit, rows[:limit]
        backwards = cursor is not None and cursor.backwards
        if backwards:
            rows.reverse()
        following = page_link(request, rows[-1][-keys:], backwards=False) if rows and (more or backwards) else None
        preceding = more if backwards else cursor is not None
        previous = page_link(request, rows[0][-keys:], backwards=True) if rows and preceding else None
        finish = self.row.finish
        results = ",".join([finish(row) for row in rows])
        return f'{{"results":[{results}],"next":{json.dumps(following)},"previous":{json.dumps(previous)}}}'

    def __hash__(self) -> int:
        return id(self)


def _found(rows: list[Any]) -> tuple[Position, list[Any]]:
    """Where an answer stands, and its rows without what `now` says. Raises NotFound without what the path names."""
    if rows[0][2] is None:
        raise exceptions.NotFound
    return Position(*rows[0][:2]), [row[HEAD:] for row in rows if row[HEAD] is not None]


@lru_cache(maxsize=512)
def _page_statement(
    listing: Listing, asked: tuple[str, ...], order: str, backwards: bool | None, rows_read: int
) -> str:
    """The statement of a page with these filters; `backwards` is None for the first one."""
    keys = [key._replace(descending=key.descending != bool(backwards)) for key in listing.orders[order]]
    conditions = [listing.where, *(filter.sql for filter in listing.filters if filter.parameter.name in asked)]
    if backwards is not None:
        conditions.append(_beyond(keys))
    ordering = ", ".join(f"{key.sql} {'DESC' if key.descending else 'ASC'}" for key in keys)
    columns = [*listing.row.columns(), *(f"({key.sql})::text" for key in keys)]
    where = " AND ".join(f"({condition})" for condition in conditions)
    return listing.statement(columns, where, f"ORDER BY {ordering} LIMIT {rows_read}")


def _beyond(keys: Sequence[Key]) -> str:
    """Rows behind the cursor. All keys have one direction: one comparison of rows, at which an index starts."""
    columns = ", ".join(key.sql for key in keys)
    values = ", ".join(_value(number, key) for number, key in enumerate(keys))
    return f"({columns}) {'<' if keys[0].descending else '>'} ({values})"


def _value(number: int, key: Key) -> str:
    return f"%(cursor{number})s::{key.type}"


def _cursor_values(cursor: Cursor | None) -> dict[str, str]:
    return {f"cursor{number}": value for number, value in enumerate(cursor.values)} if cursor else {}


@contextmanager
def one_snapshot(using: str | None = None) -> Iterator[None]:
    """Several statements read at one moment. Inside a transaction it is a savepoint, with that one's isolation."""
    connection = connections[using or DEFAULT_DB_ALIAS]
    outermost = not connection.in_atomic_block
    with transaction.atomic(using=connection.alias):
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def read_at_once(read: Callable[[], T]) -> T:
    """What `read` finds with several statements at one moment; it may be called several times."""

    def within(attempt: Attempt, connection: BaseDatabaseWrapper) -> T:
        before = _on.set(connection.alias)
        try:
            with one_snapshot(connection.alias):
                if attempt.server is Server.REPLICA:
                    _check(attempt, current_position())
                return read()
        finally:
            _on.reset(before)

    return _wherever(within)


def carried_out(plan: Plan) -> Answer:
    """The answer of a plan, read on this thread's connections."""
    return plan.answer(_carried_out(plan.statement, plan.values))


def run(statement: str, values: Mapping[str, Any]) -> list[Any]:
    """The rows of one statement, on the connection for reads."""
    return _reading(lambda connection: _read(connection, statement, values), reading_on())


def reading_on() -> str:
    """The alias of the database that `run` reads."""
    return _on.get() or settings.READS


@contextmanager
def seen_by_client(block: int | None) -> Iterator[None]:
    """In the body, answers may come from a replica that is as new as this block; None: all are read on the primary."""
    before = _seen.set(block)
    try:
        yield
    finally:
        _seen.reset(before)


def _carried_out(statement: str, values: Mapping[str, Any]) -> list[Any]:
    """The rows of a statement that gives its position."""

    def read(attempt: Attempt, connection: BaseDatabaseWrapper) -> list[Any]:
        rows = _read(connection, statement, values)
        _check(attempt, Position(*rows[0][:2]))
        return rows

    return _wherever(read) if _on.get() is None else run(statement, values)


def _check(attempt: Attempt, position: Position) -> None:
    if not attempt.takes(position.block_number, position.etag):
        raise Behind


def _wherever(read: Callable[[Attempt, BaseDatabaseWrapper], T]) -> T:
    """What `read` finds on the first server that answers and is new enough; it raises Behind where one is not."""
    seen, failure = _seen.get(), None
    for attempt in sources.attempts(seen):
        try:
            found = _reading(partial(read, attempt), SERVERS[attempt.server])
        except Behind:
            sources.behind()
        except (OperationalError, InterfaceError) as error:
            # A statement that took too long would do so there as well.
            if not passes(error) or isinstance(error.__cause__, QueryCanceled):
                raise
            sources.failed(attempt.server, error)
            failure = error
        else:
            sources.answered(attempt.server)
            return found
    raise failure or Behind


def _reading(read: Callable[[BaseDatabaseWrapper], T], alias: str) -> T:
    """Reads once more on a new connection where the kept one turns out to be broken."""
    connection = connections[alias]
    kept = connection.connection is not None
    try:
        return read(connection)
    except (OperationalError, InterfaceError) as error:
        if not kept or connection.in_atomic_block or not passes(error) or connection.is_usable():
            raise
        connection.close()
        return read(connection)


def _read(connection: BaseDatabaseWrapper, statement: str, values: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def current_position(using: str | None = None) -> Position:
    """Where an answer stands that is read now, on the connection for reads or the one of this alias."""
    statement = NOW.format(parent="true", more="")
    [row] = run(statement, {}) if using is None else _read(connections[using], statement, {})
    return Position(row[0], row[1])


def first_collateral() -> str | None:
    """What amounts of several markets are added in unless another token is asked for: that of the first market."""
    rows = run("SELECT collateral_token FROM markets ORDER BY created_at, id LIMIT 1", {})
    return rows[0][0] if rows else None
