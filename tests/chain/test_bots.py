"""The bots and the two commands that run them and their chain."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from web3 import HTTPProvider, Web3

from indexer.devchain.actions import Actions
from indexer.devchain.bots import Bots, play
from indexer.devchain.deploy import Deployment
from indexer.devchain.node import free_port
from tests.chain.fixtures import new_actions, new_node

ROOT = Path(__file__).resolve().parents[2]
STARTED = "Listening on"

# Each kind of event that a play of the first six plans must contain.
KINDS = {
    "MarketCreated",
    "AMMDeployed",
    "MarketResolved",
    "ConditionPreparation",
    "ConditionResolution",
    "PositionSplit",
    "PositionsMerge",
    "PayoutRedemption",
    "TransferSingle",
    "TransferBatch",
    "FPMMBuy",
    "FPMMSell",
    "FPMMFundingAdded",
    "FPMMFundingRemoved",
    "Transfer",
    "QuestionRegistered",
    "OutcomeProposed",
    "ProposalDisputed",
    "VoteCommitted",
    "VoteRevealed",
    "QuestionResolved",
    "QuestionVoided",
    "FeeCollected",
}


def _played(seed: int, *, markets: int = 6, steps: int = 60) -> tuple[list[tuple[str, dict[str, Any]]], Bots]:
    with new_node() as node:
        actions = new_actions(node)
        bots = play(actions.w3, actions.deployment, seed=seed, markets=markets, steps=steps)
        return actions.events(actions.w3.eth.get_logs({"fromBlock": 0})), bots


def test_the_same_seed_gives_the_same_events_on_a_fresh_chain() -> None:
    first, _ = _played(7)
    second, _ = _played(7)
    other, _ = _played(8)
    assert first == second
    assert first != other
    assert {name for name, _ in first} >= KINDS


def test_a_play_has_what_an_indexer_must_cope_with() -> None:
    events, bots = _played(3)
    counts = Counter(name for name, _ in events)
    redeemed = [arguments["payout"] for name, arguments in events if name == "PayoutRedemption"]
    assert 0 in redeemed
    assert max(redeemed) > 0
    # some resolved markets are never announced, some have fractional payouts, one stays open
    assert 0 < counts["MarketResolved"] < counts["ConditionResolution"] < counts["MarketCreated"]
    assert 0 < counts["AMMDeployed"] < counts["MarketCreated"]
    numerators = [sorted(event["payoutNumerators"])[-2] for name, event in events if name == "ConditionResolution"]
    assert any(0 < numerator < 10**18 for numerator in numerators)
    assert [event["buyer"] for name, event in events if name == "FPMMBuy"].count(bots.wallet) >= 2


def test_a_play_puts_several_transactions_into_one_block() -> None:
    with new_node() as node:
        actions = new_actions(node)
        play(actions.w3, actions.deployment, seed=1, markets=3, steps=30)
        logs = actions.w3.eth.get_logs({"fromBlock": 0})
    transactions = {(log["blockNumber"], log["transactionHash"]) for log in logs}
    assert max(Counter(block for block, _ in transactions).values()) >= 4


def test_following_goes_on_with_the_markets_of_the_chain() -> None:
    with new_node() as node:
        actions = new_actions(node)
        played = play(actions.w3, actions.deployment, seed=1, markets=6, steps=10)
        actions.create_market(b"\xff no UTF-8")
        bots = Bots(Actions(actions.w3, actions.deployment), seed=2)
        bots.adopt_markets()
        assert [life.market for life in bots.lives][:-1] == [life.market for life in played.lives]
        assert [life.ended for life in bots.lives][:-1] == [life.ended for life in played.lives]
        bots.settle_in()
        before = actions.w3.eth.block_number
        stopping = threading.Event()
        timer = threading.Timer(2, stopping.set)
        timer.start()
        bots.follow(stopping, pace=0)
        timer.join()
        assert actions.w3.eth.block_number > before


# --- commands ---------------------------------------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    # A database that cannot be reached: the commands must not look for it.
    return os.environ | {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "aurum.settings",
        "AURUM_ENV_FILES": "",
    }


@contextmanager
def _command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    assert process.stderr is not None
    pytest.fail(f"no {text!r} in {lines}; errors: {process.stderr.read()}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_second_start_continues_the_chain(tmp_path: Path) -> None:
    port, env_file = free_port(), tmp_path / "env" / "devchain.env"
    arguments = ("run_devchain", f"--port={port}", f"--state={tmp_path / 's' / 'state.json'}", f"--env-file={env_file}")
    with _command(*arguments) as first:
        assert "New chain" in _read_until(first, STARTED)
        deployment = Deployment.from_env_file(env_file)
        assert deployment.rpc_url == f"http://127.0.0.1:{port}"
        actions = Actions(Web3(HTTPProvider(deployment.rpc_url)), deployment)
        market = actions.deploy_amm(actions.create_market("Still there?"))
        actions.buy(market, 0, 10**6, sender=actions.accounts[1])
        held = actions.balances(market, actions.accounts[1])
        height = actions.w3.eth.block_number
        first.send_signal(signal.SIGTERM)
        assert first.wait(20) == 0
    assert not _listens(port)
    env_file.unlink()
    with _command(*arguments) as second:
        assert f"Continuing at block {height}" in _read_until(second, STARTED)
        assert Deployment.from_env_file(env_file) == deployment
        assert actions.balances(market, actions.accounts[1]) == held
        logs = actions.w3.eth.get_logs({"fromBlock": 0})
        assert [name for name, _ in actions.events(logs)].count("FPMMBuy") == 1
        actions.buy(market, 0, 10**6, sender=actions.accounts[1])
        second.send_signal(signal.SIGINT)
        assert second.wait(20) == 0
    assert not _listens(port)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux only")
def test_kill_9_leaves_no_node_and_loses_nothing(tmp_path: Path) -> None:
    port, env_file = free_port(), tmp_path / "devchain.env"
    arguments = ("run_devchain", f"--port={port}", f"--state={tmp_path / 'state.json'}", f"--env-file={env_file}")
    with _command(*arguments) as first:
        _read_until(first, STARTED)
        deployment = Deployment.from_env_file(env_file)
        w3 = Web3(HTTPProvider(deployment.rpc_url))
        Actions(w3, deployment).create_market()
        head = w3.eth.block_number
        first.kill()
    deadline = time.monotonic() + 10
    while _listens(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    with _command(*arguments) as second:
        assert f"Continuing at block {head};" in _read_until(second, STARTED)
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0


def test_a_busy_port_is_one_line_and_a_failure(tmp_path: Path) -> None:
    with new_node() as node:
        state, env_file = f"--state={tmp_path / 'state.json'}", f"--env-file={tmp_path / 'env'}"
        with _command("run_devchain", f"--port={node.port}", state, env_file) as process:
            _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        assert errors.splitlines()[-1] == f"CommandError: 127.0.0.1:{node.port} is not free: Address already in use"
    assert not (tmp_path / "env").exists()


def test_bots_wait_for_the_chain_follow_it_and_fail_when_it_goes(tmp_path: Path) -> None:
    port, env_file = free_port(), tmp_path / "devchain.env"
    trading = ("trade_devchain", "--markets=3", "--steps=10", "--follow", "--pace=0.01", f"--env-file={env_file}")
    with _command(*trading, "--wait=30") as bots:
        with _command(
            "run_devchain", f"--port={port}", f"--state={tmp_path / 'state.json'}", f"--env-file={env_file}"
        ) as chain:
            _read_until(bots, "Following 3 markets")
            with _command(*trading) as more:  # goes on with what is there
                output = _read_until(more, "Following")
                assert "Played" not in output
                more.send_signal(signal.SIGTERM)
                assert more.wait(10) == 0
            chain.send_signal(signal.SIGTERM)
            assert chain.wait(20) == 0
        assert bots.wait(10) == 1


def test_bots_without_a_chain_fail_with_one_line(tmp_path: Path) -> None:
    with _command("trade_devchain", f"--env-file={tmp_path / 'none'}") as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("CommandError: no development chain")
