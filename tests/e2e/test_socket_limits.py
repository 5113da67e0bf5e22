"""What the server answers to clients that ask too much, say too much, or read too little; and how it goes."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from indexer.devchain.node import free_port
from markets.models import OutboxMessage
from tests.factories import make_checkpoint
from tests.markets.feed import say
from tests.processes import PROJECT, WebServer, environment, wait_until_it_answers

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT = 30.0  # seconds that something may take, on a machine that is busy with other tests
PER_ADDRESS = 5
SUBSCRIBE = json.dumps({"type": "subscribe", "channel": "markets"})


@pytest.fixture
def server() -> Iterator[WebServer]:
    make_checkpoint()
    server = WebServer(SOCKETS_PER_ADDRESS=str(PER_ADDRESS))
    server.start()
    yield server
    server.kill()


def opened(server: WebServer, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/ws", **options)


def ask(client: ClientConnection, text: str | bytes) -> Any:
    client.send(text)
    return json.loads(client.recv(timeout=TIMEOUT))


def close_code(client: ClientConnection) -> int | None:
    """What the connection is closed with; what comes before is dropped."""
    try:
        while True:
            client.recv(timeout=TIMEOUT)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def raw(server: WebServer) -> socket.socket:
    """A connection whose client says what the test writes, and reads nothing by itself."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(TIMEOUT)
    client.connect(("127.0.0.1", server.port))
    return client


def raw_socket(server: WebServer) -> socket.socket:
    client = raw(server)
    client.sendall(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return client


def masked(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


def read_to_the_end(client: socket.socket) -> bytes:
    """What comes until the connection is closed, or cut."""
    received = b""
    with suppress(ConnectionResetError):
        while data := client.recv(65536):
            received += data
    return received


def test_a_client_address_has_so_many_connections(server: WebServer) -> None:
    clients = [opened(server) for _ in range(PER_ADDRESS)]
    with pytest.raises(InvalidStatus) as refused:
        opened(server)
    assert refused.value.response.status_code == 429
    clients.pop().close()
    assert ask(clients[0], '{"type":"ping"}') == {"type": "pong"}
    # The server hears of the end before the next handshake, or a little later.
    for _ in range(100):
        try:
            clients.append(opened(server))
            break
        except InvalidStatus:
            threading.Event().wait(0.05)
    assert len(clients) == PER_ADDRESS
    for client in clients:
        client.close()


def test_compression_is_not_offered(server: WebServer) -> None:
    """So that there is nothing to bomb with."""
    with opened(server, compression="deflate") as client:
        assert client.protocol.extensions == []
        assert ask(client, '{"type":"ping"}') == {"type": "pong"}


def test_frames_that_are_too_large(server: WebServer) -> None:
    for text in ("x" * (16 * 1024 + 1), ["x" * 9000, "x" * 9000], ["x"] * 65):
        with opened(server) as client:
            with suppress(ConnectionClosed):  # before the last fragment was sent
                client.send(text if isinstance(text, str) else iter(text))
            assert close_code(client) == 1009
    with opened(server) as client:
        assert ask(client, json.dumps({"type": "ping", "more": "x" * (16 * 1024 - 40)})) == {"type": "pong"}


def test_empty_fragments_without_end(server: WebServer) -> None:
    with raw_socket(server) as client:
        client.sendall(masked(Opcode.TEXT, b"{", fin=False))
        with suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(1000):
                client.sendall(masked(Opcode.CONT, fin=False))
        # Closed with 1009, which a client that goes on sending may not hear.
        assert read_to_the_end(client)[:4] in (b"", b"\x88\x02\x03\xf1")


def test_many_frames_at_once_are_answered_one_by_one(server: WebServer) -> None:
    with opened(server) as client:
        for number in range(40):
            client.send(json.dumps({"type": "ping", "id": number}))
        answers = [json.loads(client.recv(timeout=TIMEOUT)) for _ in range(40)]
    assert [answer.get("id") for answer in answers if answer["type"] == "pong"][:20] == list(range(20))
    assert {answer["code"] for answer in answers if answer["type"] == "error"} == {"too_many_commands"}


def test_a_handshake_that_never_ends(server: WebServer) -> None:
    with raw(server) as client:
        client.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n")
        assert read_to_the_end(client) == b""


def test_who_does_not_read_is_closed_and_costs_others_nothing(server: WebServer) -> None:
    count = 3000
    received: list[int] = []

    def read(client: ClientConnection) -> None:
        while len(received) < count:
            message = json.loads(client.recv(timeout=TIMEOUT))
            if message["type"] == "said":
                received.append(message["seq"])

    with opened(server) as client, raw_socket(server) as stopped:
        assert ask(client, SUBSCRIBE)["type"] == "subscribed"
        stopped.sendall(masked(Opcode.TEXT, SUBSCRIBE.encode()))
        reader = threading.Thread(target=read, args=(client,))
        reader.start()
        for _ in range(count // 100):
            say("markets", 100, text="x" * 4000)
        reader.join(TIMEOUT)
        assert received == list(range(1, count + 1))
        # What had been sent before, of all that there was; then the connection ends, without another word or with 1013.
        told = read_to_the_end(stopped)
        assert b'"type":"subscribed"' in told
        assert len(told) < 4000 * count
        assert OutboxMessage.objects.count() == count


def test_a_client_that_is_gone_without_a_word(server: WebServer) -> None:
    """It does not answer the server's pings."""
    with raw_socket(server) as client:
        assert read_to_the_end(client).endswith(b"keepalive ping timeout")


def test_on_sigterm_clients_are_told_to_go(server: WebServer) -> None:
    with opened(server) as stays, opened(server) as leaves:
        for client in (stays, leaves):
            assert ask(client, SUBSCRIBE)["type"] == "subscribed"
        server.tell(signal.SIGTERM)
        for client in (stays, leaves):
            while (told := json.loads(client.recv(timeout=TIMEOUT)))["type"] == "heartbeat":
                pass
            assert told == {"type": "draining", "closesIn": 2}
        leaves.close()
        with pytest.raises(OSError, match=re.compile("refused", re.IGNORECASE)):
            opened(server)
        assert close_code(stays) == 1012
    server.end(signal.SIGTERM)


def test_a_message_is_the_same_by_every_way_out(server: WebServer) -> None:
    """Encoded once for uvicorn's connections; what is asked for answers through the same door, in order."""
    texts = ["", "x" * 100, "\u00e9" * 300, "\U0001f680" * 20_000]
    with opened(server, max_size=None) as client:
        assert ask(client, SUBSCRIBE)["type"] == "subscribed"
        for text in texts:
            [told] = say("markets", text=text)
            while (message := json.loads(client.recv(timeout=TIMEOUT)))["type"] != "said":
                pass
            assert message == told


def test_daphne_serves_the_same() -> None:
    """As `runserver` does: frames go out through Channels."""
    make_checkpoint()
    port = free_port()
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "aurum.asgi:application"]
    process = subprocess.Popen(command, env=environment(None), cwd=PROJECT, stderr=subprocess.DEVNULL)
    try:
        wait_until_it_answers(process, port)
        with connect(f"ws://127.0.0.1:{port}/ws") as client:
            assert ask(client, SUBSCRIBE)["seq"] == 0
            told = say("markets", 200)
            received = []
            while len(received) < 200:
                message = json.loads(client.recv(timeout=TIMEOUT))
                received += [message] if message["type"] == "said" else []
            assert received == told
            assert ask(client, '{"type":"list"}')["subscriptions"] == [{"channel": "markets"}]
    finally:
        process.terminate()
        process.wait(30)
