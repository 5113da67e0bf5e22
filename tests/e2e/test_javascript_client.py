"""docs/client in Node.js, on live servers that go, are killed, and forget."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy
from threading import Event, Thread
from typing import Any, Self

import pytest
from django.db import transaction
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from indexer.devchain.node import free_port
from markets import outbox
from markets.models import Channel, OutboxMessage
from tests import contract
from tests.e2e.test_clients import CLIENTS, PATIENCE, node
from tests.processes import PROJECT, index_once, manage, output_of, running, wait_until_it_answers

pytestmark = pytest.mark.django_db(transaction=True)
CLIENT = PROJECT / "docs" / "client" / "aurum-socket.js"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where programs find the client and what they need."""
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for source in (CLIENT, CLIENTS / "follow.js", CLIENTS / "aurum-socket.test.js"):
        copy(source, tmp_path)
    return tmp_path


def test_it_does_the_right_thing_where_a_server_rarely_leads(folder: Path) -> None:
    report = node(folder, "--test", "--test-reporter=tap", "aurum-socket.test.js")
    assert "# pass 14\n# fail 0\n# cancelled 0\n# skipped 0" in report


class Following:
    """A client as a process; `lines` are what it has handed out so far, by kind."""

    def __init__(self, folder: Path, url: str, *channels: dict[str, Any]) -> None:
        arguments = [json.dumps(channel) for channel in channels]
        self.process = subprocess.Popen(
            ["node", "follow.js", url, *arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: dict[str, list[Any]] = {kind: [] for kind in ("state", "gap", "message", "snapshot", "error")}
        self.reader = Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            heard = json.loads(line)
            self.lines[heard["kind"]].append(heard["value"])

    def wait_for(self, what: str, wanted: Any) -> None:
        for _ in range(PATIENCE * 20):
            if wanted(self.lines):
                return
            assert self.process.poll() is None, self.lines
            Event().wait(0.05)
        raise AssertionError(f"{what}: {self.lines}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            assert self.process.wait(timeout=PATIENCE) == 0
        finally:
            self.process.kill()
            self.reader.join()
        for message in self.lines["message"]:
            contract.check(json.dumps(message))


@contextmanager
def server_at(port: int, deployment: Deployment, end: signal.Signals) -> Iterator[None]:
    process = manage("serve", deployment=deployment, HOST="127.0.0.1", PORT=str(port))
    try:
        wait_until_it_answers(process, port)
        yield
    finally:
        process.send_signal(end)
        output = output_of(process, seconds=60)
    assert process.returncode == (-end if end == signal.SIGKILL else 0), output


def told(channels: list[str]) -> dict[str, list[Any]]:
    """What the outbox has."""
    found: dict[str, list[Any]] = {}
    for row in OutboxMessage.objects.filter(channel__in=channels).order_by("channel", "seq"):
        found.setdefault(row.channel, []).append(json.loads(row.payload))
    return found


def by_channel(messages: list[Any]) -> dict[str, list[Any]]:
    """Messages by the name that their channel has in the outbox."""
    heard: dict[str, list[Any]] = {}
    for message in messages:
        key = {"user": message.get("address"), "markets": None}.get(message["channel"], message["marketId"])
        heard.setdefault(f"{message['channel']}:{key}" if key else message["channel"], []).append(message)
    return heard


def test_it_hands_out_what_the_outbox_has_over_servers_that_come_and_go(
    chain: tuple[Web3, Deployment], actions: Actions, folder: Path
) -> None:
    """Told to go, killed, and away while trades are made; then what was missed is gone from the outbox too."""
    markets = [actions.deploy_amm(actions.create_market(f"Will {name}?"), liquidity=10_000_000) for name in "ab"]
    ids = ["0x" + market.market_id.hex() for market in markets]
    trader = actions.accounts[1]
    channels = [f"{kind}:{market_id}" for market_id in ids for kind in ("market", "prices")]
    channels += [f"user:{trader.lower()}", "markets"]
    made = 0

    def trade() -> None:
        nonlocal made
        for market in markets:
            for amount in (1_000, 2_000, 3_000):
                actions.buy(market, amount % 2, amount, sender=trader)
                made += 1

    def has_all(lines: dict[str, list[Any]]) -> bool:
        trades = [message for message in lines["message"] if message["type"] == "trade"]
        return len(trades) == made and by_channel(lines["message"]) == told(channels)

    index_once(chain[1])
    port = free_port()
    asked: list[dict[str, Any]] = [
        {"channel": "market", "marketIds": ids, "since": dict.fromkeys(ids, 0)},
        {"channel": "prices", "marketIds": ids, "since": dict.fromkeys(ids, 0)},
        {"channel": "user", "address": trader, "since": 0},
        {"channel": "markets", "since": 0},
    ]
    with (
        Following(folder, f"ws://127.0.0.1:{port}/ws", *asked) as following,
        running("run_indexer", deployment=chain[1]),
    ):
        for end in (signal.SIGTERM, signal.SIGKILL):
            with server_at(port, chain[1], end):
                trade()
                following.wait_for("all messages", has_all)
            trade()
        with server_at(port, chain[1], signal.SIGTERM):
            following.wait_for("what was missed", has_all)
            assert made == 24
            assert not following.lines["gap"]
            assert not following.lines["error"]
            before = len(following.lines["snapshot"])
            assert before <= 1  # of the user, of whom there is nothing yet
        with transaction.atomic():
            outbox.break_off()
        with server_at(port, chain[1], signal.SIGTERM):
            following.wait_for("snapshots", lambda lines: len(lines["snapshot"]) == before + len(channels))
            seqs = dict(Channel.objects.filter(name__in=channels).values_list("name", "seq"))
            started = following.lines["snapshot"][before:]
            assert {f"{at['channel']}:{at['key']}".removesuffix(":"): at["seq"] for at in started} == seqs
            already = len(following.lines["message"])
            trade()
            following.wait_for(
                "new messages", lambda lines: by_channel(lines["message"][already:]) == told(channels) != {}
            )
    assert following.lines["state"][-1] == "closed"
