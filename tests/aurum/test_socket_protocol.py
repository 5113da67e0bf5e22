"""Pings of all connections at once, and their answers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from aurum.socket_protocol import PING, SocketProtocol

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASK = b"\x11\x22\x33\x44"


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(extra)
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


async def accept(scope: Any, receive: Any, send: Any) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        answer = {"type": "websocket.send", "text": message.get("text")}
        await send({"type": "websocket.accept"} if message["type"] == "websocket.connect" else answer)


@pytest.fixture
async def connection() -> AsyncIterator[tuple[SocketProtocol, Transport]]:
    """One that is open."""
    config = uvicorn.Config(accept, ws_per_message_deflate=False, log_config=None)
    config.load()
    protocol, transport = SocketProtocol(config, ServerState(), {}), Transport()
    protocol.connection_made(transport)
    protocol.data_received(HANDSHAKE)
    async with asyncio.timeout(5):
        while not transport.written:
            await asyncio.sleep(0)
    transport.written.clear()
    yield protocol, transport
    protocol.connection_lost(None)


def client_frame(first: int, payload: bytes) -> bytes:
    masked = bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))
    return bytes((first, 0x80 | len(payload))) + MASK + masked


def pong(payload: bytes) -> bytes:
    return client_frame(0x8A, payload)


def ping(protocol: SocketProtocol, payload: bytes) -> None:
    protocol.ping(PING + payload, payload)


async def test_who_answers_pings_stays(connection: tuple[SocketProtocol, Transport]) -> None:
    protocol, transport = connection
    for payload in (b"abcd", b"efgh", b"ijkl"):
        ping(protocol, payload)
        protocol.data_received(pong(payload))
    assert transport.written == [b"\x89\x04abcd", b"\x89\x04efgh", b"\x89\x04ijkl"]
    assert not transport.is_closing()


async def test_who_does_not_answer_is_closed_at_the_next(connection: tuple[SocketProtocol, Transport]) -> None:
    protocol, transport = connection
    ping(protocol, b"abcd")
    ping(protocol, b"efgh")
    assert transport.is_closing()
    assert transport.written[-1].startswith(b"\x88")


@pytest.mark.parametrize("answer", [b"efgh", b"abc", b"", b"abcde"])
async def test_another_answer_is_none(connection: tuple[SocketProtocol, Transport], answer: bytes) -> None:
    protocol, transport = connection
    ping(protocol, b"abcd")
    protocol.data_received(pong(answer))
    ping(protocol, b"efgh")
    assert transport.is_closing()


async def test_an_answer_may_come_in_pieces_and_beside_others(connection: tuple[SocketProtocol, Transport]) -> None:
    protocol, transport = connection
    text = client_frame(0x81, b"hello")
    for payload, pieces in {
        b"abcd": [pong(b"abcd")[:3], pong(b"abcd")[3:]],
        b"efgh": [text + pong(b"efgh")],
        b"ijkl": [pong(b"other") + pong(b"ijkl") + text],
        b"mnop": [text[:4], text[4:] + pong(b"mnop")],
    }.items():
        ping(protocol, payload)
        for piece in pieces:
            protocol.data_received(piece)
    async with asyncio.timeout(5):
        while sum(b"hello" in each for each in transport.written) < 3:
            await asyncio.sleep(0)
    ping(protocol, b"last")
    assert not transport.is_closing()


async def test_pongs_that_nobody_asked_for_change_nothing(connection: tuple[SocketProtocol, Transport]) -> None:
    protocol, transport = connection
    protocol.data_received(pong(b"abcd"))
    ping(protocol, b"efgh")
    protocol.data_received(pong(b"abcd"))
    protocol.data_received(pong(b"efgh"))
    ping(protocol, b"ijkl")
    assert not transport.is_closing()


async def test_a_connection_is_pinged_until_it_is_gone(connection: tuple[SocketProtocol, Transport]) -> None:
    protocol, _ = connection
    assert protocol in {each for turn in protocol.pulse._turns for each in turn}
    protocol.stop_keepalive()
    assert protocol not in {each for turn in protocol.pulse._turns for each in turn}


def test_who_has_tls_is_not_written_to_past_it(connection: tuple[SocketProtocol, Transport]) -> None:
    protocol, _ = connection
    with socket.socket() as ours:
        protocol.transport = Transport({"socket": ours})
        assert protocol.descriptor == ours.fileno()
        protocol.transport = Transport({"socket": ours, "sslcontext": object()})
        assert protocol.descriptor is None
