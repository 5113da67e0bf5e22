"""The web server's log, as a process writes it: each line is JSON, and says of which request or connection it is."""

import json
import signal
import socket
import urllib.request
from typing import Any

import pytest
from websockets.sync.client import connect

from indexer.devchain.node import free_port
from tests.factories import make_checkpoint
from tests.processes import manage, output_of, wait_until_it_answers

pytestmark = pytest.mark.django_db(transaction=True)

MARKET = "0x" + "ab" * 32


def raw(port: int, head: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(4096), b""))


def get(port: int, path: str, request_id: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"X-Request-ID": request_id})
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.headers["X-Request-ID"] == request_id
        return answer.status


def talk(port: int, headers: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """The id in the handshake's answer, and the answer to a frame that is none."""
    with connect(f"ws://127.0.0.1:{port}/ws", additional_headers=headers) as client:
        client.send('{"type": "nothing", "id": 7}')
        assert client.response is not None
        return client.response.headers["X-Request-ID"], json.loads(client.recv(timeout=30))


def test_each_line_says_whose_it_is() -> None:
    make_checkpoint()
    port = free_port()
    options = {"HOST": "127.0.0.1", "PORT": str(port), "LOG_LEVEL": "info", "LOG_FORMAT": "json"}
    process = manage("serve", deployment=None, **options)
    wait_until_it_answers(process, port)
    statuses = [get(port, "/api/markets", f"http-{number}") for number in range(3)]  # the later ones may be kept
    raw(port, b"GET /api/markets/" + MARKET.encode() + b"?token=canary HTTP/1.1\r\nX-Request-ID: http-3")
    raw(port, b'GET /%0a{"level":"error"}%1b[31m HTTP/1.1\r\nX-Request-ID: http-4<')
    offered, error = talk(port, {"X-Request-ID": "socket-1"})
    given, other = talk(port, {"X-Request-ID": "no id <"})
    process.send_signal(signal.SIGTERM)
    output = output_of(process, seconds=60)

    assert (process.returncode, statuses) == (0, [200, 200, 200])
    assert (offered, error["requestId"], error["id"], error["code"]) == ("socket-1", "socket-1", 7, "unknown_type")
    assert (len(given), other["requestId"]) == (32, given)
    assert "canary" not in output
    assert "\x1b" not in output
    lines = [json.loads(line) for line in output.splitlines()]
    of: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        of.setdefault(line.get("requestId", ""), []).append(line)
    [first] = of["http-0"]
    assert (first["message"], first["logger"]) == ("GET /api/markets 200", "aurum.traffic")
    assert {line["marketId"] for line in of["http-3"]} == {MARKET}
    assert of["http-3"][-1]["message"] == f"GET /api/markets/{MARKET} 400"
    for connection in ("socket-1", given):
        assert any("WebSocket /ws" in line["message"] and "accepted" in line["message"] for line in of[connection])
    [forged] = [line for line in lines if line["logger"] == "aurum.traffic" and "\x1b" in line["message"]]
    assert (len(forged["requestId"]), forged["level"]) == (32, "info")
    # The server's own lines are no request's.
    assert any(line["message"].startswith("Started server process") for line in of[""])
