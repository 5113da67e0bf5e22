"""Rows of every class through PostgreSQL and back: by INSERT and COPY, new and replaced, as Table and ORM see them."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aurum.database import pipelined
from indexer import rows as indexer_rows
from markets import rows as market_rows
from markets import table
from markets.chaintime import LAST_SECOND, to_seconds
from markets.fields import HexField, HexListField, TotalField, Uint256Field, Uint256ListField
from markets.identity import row_id
from markets.table import CHUNK, FEW, PARAMETERS, Record, Row
from oracle import rows as oracle_rows
from tests.batches import taken_back

pytestmark = pytest.mark.django_db

MAX = 2**256 - 1
HOSTILE = [
    "",
    "\\N",
    "\\.",
    "\\",
    "\\\\",
    "\t",
    "\n",
    "\r\n",
    "a\tb\\tc\nd",
    "\\\n",
    "\\\t",
    "\\x00",
    "\\001",
    "'\"`$$",
]
HOSTILE += ["\u2028", "\U0001f680", "null", "NULL", "{}", '["a"]', "\x01\x1b\x7f\x0b\x0c\x08", "\ufffd\ufeff\u202e"]
HOSTILE += ["%s %(name)s %%"]

TEXT = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00") | st.sampled_from("\\\t\n\r'\""), max_size=40
)
AMOUNT = st.sampled_from([0, 1, 2**53 + 1, MAX - 1, MAX]) | st.integers(0, MAX)
TOTAL = st.sampled_from([0, -1, MAX, 2**300, -(2**300)]) | st.integers(-(2**512), 2**512)
SECONDS = st.sampled_from([0, 1, LAST_SECOND]) | st.integers(0, LAST_SECOND)


def hex_of(length: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=length, max_size=length).map(lambda value: "0x" + value.hex())


def small(field: models.Field) -> st.SearchStrategy[int]:
    """All that an INTEGER or BIGINT column holds."""
    bits = 63 if isinstance(field, models.BigIntegerField) else 31
    return st.sampled_from([0, 1, 2**bits - 1, -(2**bits)]) | st.integers(-(2**bits), 2**bits - 1)


def values_of(row_class: type[Record], field: models.Field) -> st.SearchStrategy[Any]:
    """What a projection may put into a column."""
    if isinstance(field, models.ForeignKey):
        return values_of(row_class, field.target_field)
    found: dict[type[models.Field], Callable[[], st.SearchStrategy[Any]]] = {
        models.UUIDField: lambda: st.uuids().map(str),
        HexField: lambda: hex_of(field.byte_length),
        Uint256Field: lambda: AMOUNT,
        TotalField: lambda: TOTAL,
        Uint256ListField: lambda: st.lists(AMOUNT, max_size=4),
        HexListField: lambda: st.lists(hex_of(32), max_size=4),
        models.JSONField: lambda: json_of(row_class),
        models.BooleanField: st.booleans,
        models.DateTimeField: lambda: SECONDS,
        models.BinaryField: lambda: st.binary(max_size=80).map(lambda value: "0x" + value.hex()),
        models.IntegerField: lambda: small(field),
        models.TextField: lambda: TEXT,
        models.CharField: lambda: TEXT.map(lambda text: text[: field.max_length]),
    }
    strategy = next(make() for kind, make in found.items() if isinstance(field, kind))
    return st.none() | strategy if field.null else strategy


def json_of(row_class: type[Record]) -> st.SearchStrategy[Any]:
    """Names of outcomes; or the reading of an event, which is JSON text already."""
    if row_class is indexer_rows.IndexedEvent:
        return st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=3), max_size=3).map(
            lambda value: msgspec.json.encode(value).decode()
        )
    return st.lists(TEXT, max_size=4)


def fields_of(row_class: type[Record]) -> dict[str, models.Field]:
    columns = {field.attname: field for field in row_class.table.model._meta.concrete_fields}
    return {name: columns[name] for name in row_class.__struct_fields__}


def rows_of(row_class: type[Record], *, most: int = 3) -> st.SearchStrategy[list[Record]]:
    """A few rows that stand in one table: what is unique differs."""
    fields = fields_of(row_class)
    columns = {name: values_of(row_class, field) for name, field in fields.items()}
    keys = [[name] for name, field in fields.items() if field.unique] or [["channel", "seq"]]
    uniques = [lambda row, key=key: tuple(getattr(row, name) for name in key) for key in keys]
    return st.lists(st.builds(row_class, **columns), min_size=1, max_size=most, unique_by=tuple(uniques))


def plain(row: Record) -> dict[str, Any]:
    """A row's values in the form in which they are read."""
    values = msgspec.structs.asdict(row)
    if isinstance(row, indexer_rows.IndexedEvent) and isinstance(row.event_data, str):
        values["event_data"] = msgspec.json.decode(row.event_data)
    return values


def seen_by_orm(row: Record) -> dict[str, Any]:
    """What the ORM has for a row, as the row class would say it."""
    fields = fields_of(type(row))
    key = {name: getattr(row, name) for name, field in fields.items() if field.primary_key}
    found = type(row).table.model._default_manager.get(**key or {"channel": row.channel, "seq": row.seq})
    return {name: _as_row_value(getattr(found, name)) for name in fields}


def _as_row_value(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return to_seconds(value)
    return "0x" + bytes(value).hex() if isinstance(value, memoryview | bytes) else value


def in_order(rows: Iterable[Record]) -> list[dict[str, Any]]:
    return sorted(map(plain, rows), key=repr)


ROW_CLASSES = [
    found
    for module in (market_rows, oracle_rows, indexer_rows)
    for found in vars(module).values()
    if isinstance(found, type)
    and issubclass(found, Record)
    and hasattr(found, "table")
    # A stored log alone lacks its reading: it is what an IndexedEvent is read as.
    and found is not indexer_rows.StoredLog
]
ROW_CLASSES = list(dict.fromkeys(ROW_CLASSES))
WITH_ID = [row_class for row_class in ROW_CLASSES if issubclass(row_class, Row)]

exactly = settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
by_insert_and_by_copy = pytest.mark.parametrize("few", [1000, 0], ids=["INSERT", "COPY"])


def test_every_row_class_is_here() -> None:
    assert len(ROW_CLASSES) == 20


@by_insert_and_by_copy
@pytest.mark.parametrize("row_class", ROW_CLASSES, ids=lambda row_class: row_class.__name__)
def test_what_is_inserted_is_read(row_class: type[Record], few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FEW", few)

    @exactly
    @given(rows_of(row_class))
    def check(rows: list[Record]) -> None:
        with taken_back():
            row_class.table.insert(rows)
            assert in_order(row_class.table.load("true")) == in_order(rows)
            assert in_order(row_class.table.stream("true", size=2)) == in_order(rows)
            assert [seen_by_orm(row) for row in rows] == [plain(row) for row in rows]

    check()


@by_insert_and_by_copy
@pytest.mark.parametrize("row_class", WITH_ID, ids=lambda row_class: row_class.__name__)
def test_what_is_replaced_is_read(row_class: type[Row], few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are there already take every value of the new ones; others are added, and the rest stays."""
    monkeypatch.setattr(table, "FEW", few)

    @exactly
    @given(rows_of(row_class, most=6), st.integers(0, 3))
    def check(rows: list[Row], count: int) -> None:
        before, after = rows[:count], rows[count:]
        uniques = [name for name, field in fields_of(row_class).items() if field.unique and name != "id"]
        for old, new in zip(before, after, strict=False):
            new.id = old.id
            for name in uniques:
                setattr(new, name, getattr(old, name))
        with taken_back():
            row_class.table.upsert(before)
            row_class.table.upsert(after)
            expected = {row.id: row for row in before} | {row.id: row for row in after}
            found = row_class.table.by_id([*expected, "00000000-0000-0000-0000-000000000000"])
            assert {row_id: plain(row) for row_id, row in found.items()} == {
                row_id: plain(row) for row_id, row in expected.items()
            }
            assert [seen_by_orm(row) for row in expected.values()] == [plain(row) for row in expected.values()]

    check()


@pytest.mark.parametrize("way", [nullcontext, pipelined])
@pytest.mark.parametrize("count", [0, 1, FEW, FEW + 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1])
def test_as_many_rows_as_there_are(count: int, way: Callable[[], AbstractContextManager[None]]) -> None:
    """At the borders of INSERT, COPY and its portions. The texts end in what COPY might take for its own end."""
    rows = [
        market_rows.Channel(id=row_id("channel", number), name=f"{number}{HOSTILE[number % len(HOSTILE)]}")
        for number in range(count)
    ]
    table_ = market_rows.Channel.table
    with way():
        table_.insert(rows)
    assert in_order(table_.load("true")) == in_order(rows)
    for row in rows:
        row.seq += 7
    with way():
        table_.upsert(rows)
        table_.upsert(rows[: count // 2])
    assert in_order(table_.stream("true", size=100)) == in_order(rows)


def test_more_values_than_one_statement_takes() -> None:
    """One block can touch a row of each of 256 outcomes for each of many holders."""
    table_ = market_rows.Channel.table
    count = PARAMETERS // len(table_.columns) + 1
    rows = [market_rows.Channel(id=row_id("channel", number), name=str(number)) for number in range(count)]
    with pipelined():
        table_.insert(rows)
        table_.upsert(rows)
    assert table_.model._default_manager.count() == count


def test_a_stored_log_is_read_from_the_row_of_its_event() -> None:
    @exactly
    @given(rows_of(indexer_rows.IndexedEvent))
    def check(rows: list[indexer_rows.IndexedEvent]) -> None:
        with taken_back():
            indexer_rows.IndexedEvent.table.insert(rows)
            found = indexer_rows.StoredLog.table.by_id([row.id for row in rows])
            for row in rows:
                columns = plain(row)
                del columns["event_data"]
                assert plain(found[row.id]) == columns

    check()
