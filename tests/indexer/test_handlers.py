"""The one table from events to projections is complete."""

import inspect
from typing import Any

import pytest
from django.db.models import NOT_PROVIDED, AutoField
from msgspec import NODEFAULT, structs

from indexer import events
from indexer.events import EVENTS, ChainEvent
from indexer.handlers import DEFINITIONS, HANDLERS, IGNORED, WRITE_ORDER
from indexer.rows import IndexedBlock, IndexedEvent, WaitingEvent
from markets.rows import Message

CLASSES = set(EVENTS.values())


def test_each_event_is_handled_or_ignored_and_not_both() -> None:
    assert set(HANDLERS) | IGNORED == CLASSES
    assert not set(HANDLERS) & IGNORED


def test_every_event_class_that_exists_is_registered() -> None:
    declared = {value for value in vars(events).values() if isinstance(value, type) and issubclass(value, ChainEvent)}
    assert declared - {ChainEvent} == CLASSES


@pytest.mark.parametrize("event_class", HANDLERS, ids=lambda event_class: event_class.__name__)
def test_a_handler_takes_the_fields_of_its_event(event_class: Any) -> None:
    parameters = inspect.signature(HANDLERS[event_class]).parameters
    assert list(parameters) == ["book", "at", *event_class.__struct_fields__]


def test_no_two_events_share_a_handler() -> None:
    assert len(set(HANDLERS.values())) == len(HANDLERS)


def test_definitions_are_handled() -> None:
    assert set(DEFINITIONS) <= set(HANDLERS)


def test_no_table_is_written_twice() -> None:
    assert len(set(WRITE_ORDER)) == len(WRITE_ORDER)


def test_referred_tables_are_written_first() -> None:
    models = [kind.table.model for kind in WRITE_ORDER]
    for position, model in enumerate(models):
        referred = {field.related_model for field in model._meta.concrete_fields if field.is_relation}
        assert referred <= set(models[:position])


@pytest.mark.parametrize("kind", [*WRITE_ORDER, Message, IndexedEvent, WaitingEvent, IndexedBlock])
def test_a_row_class_has_the_columns_of_its_model(kind: Any) -> None:
    """All of them, but those that the database itself fills."""
    columns = {
        field.attname
        for field in kind.table.model._meta.concrete_fields
        if not isinstance(field, AutoField) and field.db_default is NOT_PROVIDED
    }
    assert set(kind.__struct_fields__) == columns


@pytest.mark.parametrize("kind", WRITE_ORDER)
def test_a_row_class_has_the_defaults_of_its_model(kind: Any) -> None:
    fields = {field.attname: field for field in kind.table.model._meta.concrete_fields}
    for info in structs.fields(kind):
        if info.default is not NODEFAULT:
            assert info.default == fields[info.name].get_default()
