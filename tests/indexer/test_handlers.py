"""The one table from events to projections is complete."""

import inspect
from dataclasses import fields
from typing import Any

import pytest

from indexer import events
from indexer.events import EVENTS, ChainEvent
from indexer.handlers import DEFINITIONS, HANDLERS, IGNORED, WRITE_ORDER

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
    keywords = [name for name, item in parameters.items() if item.kind is inspect.Parameter.KEYWORD_ONLY]
    assert keywords == [field.name for field in fields(event_class)]
    assert list(parameters)[:2] == ["book", "at"]
    assert len(parameters) == 2 + len(keywords)


def test_no_two_events_share_a_handler() -> None:
    assert len(set(HANDLERS.values())) == len(HANDLERS)


def test_definitions_are_handled() -> None:
    assert set(DEFINITIONS) <= set(HANDLERS)


def test_no_table_is_written_twice() -> None:
    assert len(set(WRITE_ORDER)) == len(WRITE_ORDER)


def test_referred_tables_are_written_first() -> None:
    for position, model in enumerate(WRITE_ORDER):
        referred = {field.related_model for field in model._meta.concrete_fields if field.is_relation}
        assert referred <= set(WRITE_ORDER[:position])
