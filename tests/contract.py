"""Holds what the server says on `/ws`, anywhere in the tests, against the AsyncAPI document.

Heard: every message that a Book publishes in the tests' own process, every answer of a consumer there, every row that
is in the outbox when a test ends, and every frame that a Python client receives from `/ws`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

from jsonschema_rs import Draft7Validator
from websockets.asyncio.connection import Connection as AsyncConnection
from websockets.sync.connection import Connection as SyncConnection

from aurum.documents import AsyncApiView
from markets.book import Book
from markets.frames import Frame
from markets.models import OutboxMessage
from markets.subscribers import Subscriber

# The type of messages that a test puts into the outbox itself. The server says none.
MADE_UP = "said"
breaches: list[str] = []  # gathered, as what a task raises is seen by nobody


@cache
def document() -> dict[str, Any]:
    return json.loads(AsyncApiView.text())


@cache
def spoken() -> dict[str, dict[str, Draft7Validator]]:
    """What the server may say: by `type`, then by name, what a message of that name must be."""
    found: dict[str, dict[str, Draft7Validator]] = {}
    for operation in document()["operations"].values():
        said = operation["messages"] if operation["action"] == "send" else operation["reply"]["messages"]
        for reference in said:
            _, _, channel, _, name = reference["$ref"].split("/")
            message = message_of(channel, name)
            found.setdefault(message["name"], {})[f"{channel}.{name}"] = strict(message["payload"])
    return found


def message_of(channel: str, name: str) -> dict[str, Any]:
    reference = document()["channels"][channel]["messages"][name]["$ref"]
    return document()["components"]["messages"][reference.rpartition("/")[2]]


def strict(payload: dict[str, Any]) -> Draft7Validator:
    """Clients are told to ignore fields that they don't know. Here one that is not described is a breach."""
    schema = {**payload, "components": {"schemas": document()["components"]["schemas"]}}
    return Draft7Validator(_closed(schema), validate_formats=True)


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(each) for name, each in schema.items()}
    return {"additionalProperties": False, **closed} if isinstance(closed.get("properties"), dict) else closed


def check(text: str | bytes) -> None:
    """Notes a breach where no message of the document is like this one."""
    message = json.loads(text)
    if message.get("type") == MADE_UP:
        return
    candidates = spoken().get(message.get("type"), {})
    if any(validator.is_valid(message) for validator in candidates.values()):
        return
    errors = {name: [each.message for each in every.iter_errors(message)] for name, every in candidates.items()}
    breaches.append(f"not as /api/asyncapi says: {message}\n{errors or 'there is no such type'}")


def check_outbox() -> None:
    for payload in OutboxMessage.objects.values_list("payload", flat=True).iterator():
        check(payload)


@contextmanager
def listening() -> Iterator[None]:
    """Hears what is said in this process, and what it is told, while the body runs."""
    add, offer = Book._add_message, Subscriber.offer
    receive, receive_async = SyncConnection.recv, AsyncConnection.recv

    def added(book: Book, *arguments: Any) -> None:
        add(book, *arguments)
        check(book.messages[-1].payload)

    def offered(subscriber: Subscriber, frame: Frame) -> None:
        if not frame.channel:  # what channels push, a Book has published
            check(frame.text)
        offer(subscriber, frame)

    def received(socket: SyncConnection, *arguments: Any, **options: Any) -> Any:
        return _heard(socket, receive(socket, *arguments, **options))

    async def received_async(socket: AsyncConnection, *arguments: Any, **options: Any) -> Any:
        return _heard(socket, await receive_async(socket, *arguments, **options))

    with (
        patch.object(Book, "_add_message", added),
        patch.object(Subscriber, "offer", offered),
        patch.object(SyncConnection, "recv", received),
        patch.object(AsyncConnection, "recv", received_async),
    ):
        yield


def _heard(socket: Any, message: Any) -> Any:
    """Nodes have sockets too, elsewhere."""
    if socket.request is not None and socket.request.path == "/ws":
        check(message)
    return message
