"""PostgreSQL killed under a running indexer, again and again: it recovers by itself, and loses and doubles nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic

import psycopg
import pytest
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.bots import Bots
from indexer.devchain.deploy import Deployment
from tests.processes import PROJECT, environment

KILLS = 5
TABLES = ("markets", "positions", "trades", "price_points", "history", "outcome_tokens", "indexed_blocks", "checkpoint")
ROWS = "SELECT md5(string_agg(row::text, ' ' ORDER BY row::text)), count(*) FROM (SELECT {columns} FROM {table}) row"


class Server:
    """A PostgreSQL of the test's own, which may be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "aurum.embedded_postgres", "start", str(self.folder)]
        deadline = monotonic() + 30
        # It refuses to start while a child of the killed one still holds the shared memory.
        while (started := subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)).returncode:
            assert monotonic() < deadline, started.stderr
        self.url = started.stdout.strip()

    def kill(self) -> None:
        """SIGKILL: no checkpoint, no goodbye; its children follow it."""
        postmaster = int((self.folder / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        # Where nobody reaps it, a dead process still looks like a running server to whoever starts the next.
        (self.folder / "postmaster.pid").unlink()

    def stop(self) -> None:
        command = [sys.executable, "-m", "aurum.embedded_postgres", "stop", str(self.folder)]
        subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)

    def query(self, database: str, query: str) -> tuple[object, ...]:
        with psycopg.connect(self.url, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(query)  # type: ignore[call-overload]
            return (cursor.fetchone() or ()) if cursor.description else ()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "postgres")
    yield running
    running.stop()


def manage(server: Server, database: str, deployment: Deployment, *arguments: str) -> subprocess.Popen[bytes]:
    url = server.url.replace("/postgres?", f"/{database}?")
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        env=environment(deployment) | {"DATABASE_URL": url},
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_until_indexed(server: Server, block: int) -> None:
    deadline = monotonic() + 60
    while server.query("lived", "SELECT block_number FROM checkpoint") != (block,):
        assert monotonic() < deadline, "not indexed within 60 s"
        Event().wait(0.1)


def rows(server: Server, database: str) -> dict[str, object]:
    columns = {"checkpoint": "block_number, block_hash, event_count"}
    return {
        table: server.query(database, ROWS.format(table=table, columns=columns.get(table, "*"))) for table in TABLES
    }


@pytest.mark.django_db
def test_killed_servers(chain: tuple[Web3, Deployment], actions: Actions, server: Server) -> None:
    for database in ("lived", "fresh"):
        server.query("postgres", f"CREATE DATABASE {database}")
        assert manage(server, database, chain[1], "migrate").wait(timeout=120) == 0
    bots = Bots(actions, seed=21)
    bots.settle_in()
    bots.open_market()
    indexer = manage(server, "lived", chain[1], "run_indexer")
    try:
        wait_until_indexed(server, chain[0].eth.block_number)
        for number in range(KILLS):
            for _ in range(4):
                bots.step()
            if number % 2:  # once while it works, once while it waits
                wait_until_indexed(server, chain[0].eth.block_number)
            server.kill()
            bots.step()
            server.start()
        wait_until_indexed(server, chain[0].eth.block_number)
        assert indexer.poll() is None
    finally:
        indexer.send_signal(signal.SIGTERM)
        assert indexer.wait(timeout=60) == 0
    assert manage(server, "fresh", chain[1], "run_indexer", "--once").wait(timeout=120) == 0
    assert rows(server, "lived") == rows(server, "fresh")
    assert rows(server, "fresh")["trades"][1]
