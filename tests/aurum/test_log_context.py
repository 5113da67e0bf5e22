"""The fields of a piece of work's log lines: in threads, in tasks, and only there."""

import asyncio
from threading import Thread

import pytest

from aurum.log_context import (
    apart,
    begin_log_context,
    current_request_id,
    in_this_context,
    log_context,
    log_fields,
)


def test_there_are_none_by_default() -> None:
    assert log_fields() == {}


def test_fields_add_up_and_end_with_the_body() -> None:
    with log_context(requestId="a", marketId="0x1"):
        with log_context(marketId="0x2", actionId=7):
            assert log_fields() == {"requestId": "a", "marketId": "0x2", "actionId": 7}
        assert log_fields() == {"requestId": "a", "marketId": "0x1"}
        assert current_request_id.get() == "a"
    assert (log_fields(), current_request_id.get()) == ({}, "")


def test_they_end_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), log_context(requestId="a", marketId="0x1"):
        _ = 1 / 0
    assert log_fields() == {}


def test_what_begins_forgets_what_was_before() -> None:
    with log_context(requestId="a", marketId="0x1"):
        begin_log_context("b", repairId=3)
        assert log_fields() == {"requestId": "b", "repairId": 3}
        begin_log_context("c")
        assert log_fields() == {"requestId": "c"}
    assert log_fields() == {}


def test_a_thread_has_them_when_it_is_given_them() -> None:
    seen: list[object] = []
    with log_context(requestId="a"):
        works = [lambda: seen.append(log_fields()), in_this_context(lambda: seen.append(log_fields()))]
    for work in works:
        thread = Thread(target=work)
        thread.start()
        thread.join()
    assert seen == [{}, {"requestId": "a"}]


async def test_tasks_have_their_own_and_what_is_apart_has_none() -> None:
    seen: dict[str, object] = {}

    async def note(name: str) -> None:
        await asyncio.sleep(0)
        seen[name] = log_fields()

    async def connection(name: str) -> None:
        begin_log_context(name)
        await asyncio.gather(asyncio.create_task(note(name)), apart(note(f"apart from {name}")))

    await asyncio.gather(asyncio.create_task(connection("a")), asyncio.create_task(connection("b")))
    assert seen == {"a": {"requestId": "a"}, "b": {"requestId": "b"}, "apart from a": {}, "apart from b": {}}
    assert log_fields() == {}
