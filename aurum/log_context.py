"""PURE. What each log line of a piece of work tells beside its message: which request it is of, market, or action.

The fields belong to the running thread or asyncio task, and to the tasks that it starts. Other threads, and tasks that
outlive the work, are told by `in_this_context` and `apart`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

# A variable of its own: answers and the audit name it too.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
_fields: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default={})  # noqa: B039 (it is never changed)


def begin_log_context(request_id: str, **fields: Any) -> None:
    """The lines of this thread or task have these fields from now on, and no others."""
    current_request_id.set(request_id)
    _fields.set(fields)


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Adds fields to the lines of the body; `requestId` is also what answers and audit name.

    What began in the body ends with it, too.
    """
    id_before = current_request_id.set(fields.pop("requestId", current_request_id.get()))
    fields_before = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        current_request_id.reset(id_before)
        _fields.reset(fields_before)


def log_fields() -> dict[str, Any]:
    """The fields of this thread or task, `requestId` first."""
    request_id = current_request_id.get()
    return {"requestId": request_id, **_fields.get()} if request_id else dict(_fields.get())


def in_this_context(work: Callable[[], T]) -> Callable[[], T]:
    """`work`, for another thread, with the fields that are set here and now."""
    context = copy_context()
    return lambda: context.run(work)


def apart(work: Awaitable[T]) -> "asyncio.Future[T]":
    """Starts what outlives the request that needed it first: its lines are not that request's."""
    return Context().run(asyncio.ensure_future, work)
