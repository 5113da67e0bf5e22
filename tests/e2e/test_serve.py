"""The servers as a deployment runs them: uvicorn with the indexer beside it, and daphne behind `runserver`."""

import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from web3 import Web3
from websockets.sync.client import connect

from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from indexer.devchain.node import free_port
from tests.processes import index_once, manage, running, serving, wait_until_it_answers

pytestmark = pytest.mark.django_db(transaction=True)


def get(address: str, path: str) -> tuple[int, Any, Any]:
    """Status, headers and JSON (or text) of an answer."""
    try:
        answer = urllib.request.urlopen(f"http://{address}{path}", timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    body = answer.read().decode()
    is_json = "json" in answer.headers["Content-Type"]
    return answer.status, answer.headers, json.loads(body) if is_json else body


def children(pid: int) -> list[int]:
    """Processes that `pid` has started and that live."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def wait_for_trades(address: str, market_id: str, count: int) -> list[dict[str, Any]]:
    for _ in range(400):
        trades = get(address, f"/api/markets/{market_id}/trades")[2].get("results", [])
        if len(trades) >= count:
            return trades
        Event().wait(0.05)
    raise AssertionError("the trade was not served in 20 s")


def test_one_process_serves_and_indexes(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    market = actions.deploy_amm(actions.create_market())
    market_id = "0x" + market.market_id.hex()
    with serving(chain[1], "--with-indexer") as address:
        actions.buy(market, 1, 5000, sender=actions.accounts[1])
        trade = wait_for_trades(address, market_id, 1)[0]
        assert (trade["side"], trade["outcome"], trade["collateralAmount"]) == ("buy", 1, "5000")
        status, headers, health = get(address, "/health")
        assert (status, sorted(health)) == (200, ["database", "indexer", "status", "uptime"])
        assert (health["status"], health["database"], health["indexer"]) == ("healthy", "connected", "running")
        assert headers["Server"] is None
        head = chain[0].eth.block_number
        status, headers, body = get(address, "/api/indexer/status")
        assert (status, body["headBlock"], body["chainId"], body["failedEvents"]) == (200, head, 31337, 0)
        assert get(address, "/api/status")[2]["indexer"]["state"] == "running"
        assert get(address, "/api/docs")[0] == 200
        assert get(address, "/static/admin/css/base.css")[0] == 200


def test_an_indexer_that_dies_is_started_again_and_none_is_left_behind(
    chain: tuple[Web3, Deployment], actions: Actions
) -> None:
    port = free_port()
    options = {"HOST": "127.0.0.1", "PORT": str(port)}
    with running("serve", "--with-indexer", deployment=chain[1], **options) as server:
        wait_until_it_answers(server, port)
        [first] = children(server.pid)
        os.kill(first, signal.SIGKILL)
        second: list[int] = []
        while not second:
            Event().wait(0.1)
            assert server.poll() is None
            second = [child for child in children(server.pid) if child != first]
        assert get(f"127.0.0.1:{port}", "/health/live")[0] == 200
    assert not Path(f"/proc/{second[0]}").exists()


def test_it_can_be_ended_while_it_starts(chain: tuple[Web3, Deployment]) -> None:
    with running("serve", "--with-indexer", deployment=chain[1], HOST="127.0.0.1", PORT=str(free_port())) as server:
        started: list[int] = []
        while not started:
            Event().wait(0.01)
            assert server.poll() is None
            started = children(server.pid)
    assert not Path(f"/proc/{started[0]}").exists()


def test_a_busy_port_is_one_clear_line(chain: tuple[Web3, Deployment]) -> None:
    with serving(chain[1]) as address:
        host, port = address.split(":")
        process = manage("serve", deployment=chain[1], HOST=host, PORT=port)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.strip().splitlines() == [
        f"port {port} on {host} can't be used (Address already in use): stop what uses it, or set PORT"
    ]


def test_daphne_serves_too(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    market = actions.deploy_amm(actions.create_market())
    index_once(chain[1])
    port = free_port()
    process = manage("runserver", "--noreload", f"127.0.0.1:{port}", deployment=chain[1])
    try:
        wait_until_it_answers(process, port)
        status, _, body = get(f"127.0.0.1:{port}", "/api/markets")
        assert (status, len(body["results"])) == (200, 1)
        with connect(f"ws://127.0.0.1:{port}/ws") as socket:
            frame = {"type": "subscribe", "channel": "prices", "marketId": "0x" + market.market_id.hex()}
            socket.send(json.dumps(frame))
            assert json.loads(socket.recv(timeout=20))["snapshot"]["prices"] == [0.5, 0.5]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
