"""The two servers that are compared, and the clients, as processes. A server sends what it is told to `publish`."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg

from indexer.devchain.node import free_port
from tests.bench.measure import Database, Failed

PROJECT = Path(__file__).resolve().parents[3]
BROADCASTER = Path(__file__).resolve().parent / "broadcaster" / "server.js"
START_TIMEOUT = 30.0  # seconds
PUBLISH = """
    WITH counted AS (UPDATE channels SET seq = %(seq)s WHERE name = %(channel)s)
    INSERT INTO outbox (channel, seq, payload, block_number)
    VALUES (%(channel)s, %(seq)s, %(payload)s, %(block_number)s)
"""


Publish = Callable[[Mapping[str, Any]], None]  # has a message sent, and returns when the server has been told


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str]) -> Iterator["Process"]:
    """A server that answers on a port of its own while the body runs."""
    port = free_port()
    process = subprocess.Popen(
        command, cwd=PROJECT, env={**environment, "PORT": str(port)}, stdout=subprocess.DEVNULL, process_group=0
    )
    try:
        _wait(process, port)
        yield Process(port=port, pid=process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_TIMEOUT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A running server."""

    port: int
    pid: int

    def memory(self) -> int:
        """Resident bytes."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        [kilobytes] = [line.split()[1] for line in rollup.splitlines() if line.startswith("Rss:")]
        return int(kilobytes) * 1024


def ours(environment: Mapping[str, str]) -> AbstractContextManager["Process"]:
    return serving([sys.executable, "manage.py", "serve"], environment)


def broadcaster() -> AbstractContextManager["Process"]:
    return serving(["node", str(BROADCASTER)], {"PATH": os.environ["PATH"], "NODE_ENV": "production"})


@contextmanager
def through_outbox(database: Database) -> Iterator[Publish]:
    """As the indexer does: in one transaction, with the channel's `seq`."""
    with psycopg.connect(database.url, autocommit=True) as connection:

        def publish(message: Mapping[str, Any]) -> None:
            values = {
                "channel": f"prices:{message['marketId']}",
                "seq": message["seq"],
                "payload": encoded(message),
                "block_number": message["blockNumber"],
            }
            with connection.pipeline(), connection.transaction():
                connection.execute(PUBLISH, values)
                connection.execute("NOTIFY outbox")

        yield publish


@contextmanager
def through_packets(port: int) -> Iterator[Publish]:
    """The broadcaster has the message itself, and nothing to read."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:

        def publish(message: Mapping[str, Any]) -> None:
            packets.sendto(encoded(message).encode(), ("127.0.0.1", port))

        yield publish


def encoded(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))


@contextmanager
def clients(port: int, count: int, market_id: str | None = None) -> Iterator["Clients"]:
    """So many connections to a server, in one process, when all are ready."""
    arguments = ["-m", "tests.bench.ws.clients", str(port), str(count), *([market_id] if market_id else [])]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        if _line(process) != "ready\n":
            raise Failed("the clients could not connect")
        yield Clients(process)
    finally:
        process.kill()
        process.wait()


class Clients:
    """Connections of another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def until(self, seq: int) -> Any:
        """What came up to this message: clients.py's Report, as JSON has it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"until {seq}\n")
        self._process.stdin.flush()
        return json.loads(_line(self._process))


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise Failed("the clients have ended")
    return line


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = monotonic() + START_TIMEOUT
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or monotonic() > deadline:
            raise Failed("a server does not start")
        sleep(0.05)
