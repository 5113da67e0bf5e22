"""The command as operators meet it: exit codes, signals, clear lines, and what it keeps when something is wrong."""

import os
import pty
import signal
import subprocess
import sys
import termios
from threading import Event

import pytest
from eth_abi import encode
from web3 import Web3

from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from indexer.models import IndexedEvent, IndexerStatus, WaitingEvent
from markets.models import Checkpoint, Market, Position, Trade
from oracle.models import Question
from tests.processes import PROJECT, environment, index_once, manage, running
from tests.truth import Truth

pytestmark = pytest.mark.django_db(transaction=True)


def wait_for_block(number: int) -> None:
    """Until the checkpoint is there; bounded."""
    for _ in range(400):
        if Checkpoint.objects.filter(block_number__gte=number).exists():
            return
        Event().wait(0.05)
    raise AssertionError(f"block {number} was not indexed in 20 s")


def test_it_follows_the_head_and_ends_cleanly(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    with running("run_indexer", deployment=chain[1]):
        market = actions.deploy_amm(actions.create_market())
        wait_for_block(chain[0].eth.block_number)
        actions.buy(market, 0, 1000, sender=actions.accounts[1])
        wait_for_block(chain[0].eth.block_number)
    assert Truth(*chain).differences() == []
    status = IndexerStatus.objects.get()
    assert (status.head_block, status.last_error) == (chain[0].eth.block_number, "")


def test_a_second_sync_changes_nothing(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    actions.buy(actions.deploy_amm(actions.create_market()), 0, 1000, sender=actions.accounts[1])
    index_once(chain[1])
    before = list(IndexedEvent.objects.order_by("id").values_list("id", "created_at"))
    index_once(chain[1])
    assert list(IndexedEvent.objects.order_by("id").values_list("id", "created_at")) == before
    assert Checkpoint.objects.get().block_number == chain[0].eth.block_number


def test_two_indexers_at_once_double_nothing(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    market = actions.deploy_amm(actions.create_market())
    for amount in range(1, 40):
        actions.buy(market, 0, amount * 1000, sender=actions.accounts[1])
    both = [manage("run_indexer", "--once", deployment=chain[1], INDEXER_BATCH_SIZE="2") for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert Truth(*chain).differences() == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"CHAIN_ID": "8453"}, "CommandError: CHAIN_ID is 8453, but the node is on chain 31337"),
        ({"RPC_URL": ""}, "CommandError: RPC_URL is not set"),
        ({"MARKET_FACTORY_ADDRESS": ""}, "CommandError: MARKET_FACTORY_ADDRESS must be set"),
        ({"MARKET_FACTORY_ADDRESS": "0x12"}, "MARKET_FACTORY_ADDRESS must be 0x and 40 hexadecimal digits"),
        ({"INDEXER_BATCH_SIZE": "0"}, "INDEXER_BATCH_SIZE must be a whole number from 1 to 100000; it is '0'"),
        ({"RPC_URL": "https//secret-key"}, "RPC_URL must hold URLs that start with http or https://"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(chain: tuple[Web3, Deployment], change: dict[str, str], line: str) -> None:
    process = manage("run_indexer", "--once", deployment=chain[1], **change)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.strip().splitlines()[-1].endswith(line)
    assert "secret-key" not in output
    assert not Checkpoint.objects.exists()


def test_another_deployment_is_refused_and_nothing_is_written(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    actions.create_market()
    index_once(chain[1])
    before = Checkpoint.objects.values().get()
    process = manage("run_indexer", "--once", deployment=chain[1], FEE_COLLECTOR_ADDRESS="0x" + "11" * 20)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the database was indexed with contracts" in output
    assert Checkpoint.objects.values().get() == before


def test_the_key_in_the_rpc_url_never_reaches_the_output(chain: tuple[Web3, Deployment]) -> None:
    url = "http://user:canary-password@127.0.0.1:9/canary-path?key=canary-key"
    process = manage("run_indexer", deployment=chain[1], RPC_URL=url, LOG_LEVEL="debug")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    output = "".join(lines) + rest
    assert process.returncode == 0
    assert "127.0.0.1:9" in output
    assert "canary" not in output


def test_what_concerns_no_known_market_waits(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    market = actions.deploy_amm(actions.create_market())
    trader = actions.accounts[1]
    start = chain[0].eth.block_number
    actions.buy(market, 0, 1000, sender=trader)

    # The market's own events lie before the first indexed block.
    index_once(chain[1], INDEXER_START_BLOCK=str(start + 1))

    names = IndexedEvent.objects.order_by("block_number", "log_index").values_list("event_name", "processed")
    assert list(names) == [("TransferBatch", True), ("PositionSplit", True), ("TransferSingle", True)]
    assert sorted(WaitingEvent.objects.values_list("event__event_name", flat=True)) == [
        "PositionSplit",
        "TransferBatch",
        "TransferBatch",
        "TransferSingle",
    ]
    assert (Market.objects.count(), Trade.objects.count(), Position.objects.count()) == (0, 0, 0)


def test_an_event_that_cannot_be_decoded_or_applied_is_kept_and_stops_nothing(
    chain: tuple[Web3, Deployment], actions: Actions
) -> None:
    market = actions.create_market()
    emitter = actions.emitter.address
    collected = [Web3.keccak(text="FeeCollected(address,bytes32,address,uint256)"), *[bytes(32)] * 3]
    actions.emit_log([*collected[:2], market.market_id, collected[3]], b"too short")
    actions.emit_log(collected[:2], bytes(32))
    actions.emit_log([*collected[:2], market.market_id, collected[3]], (2**256 - 1).to_bytes(32, "big"))

    # Whoever deploys a contract may make it emit anything: here it stands where one of ours should.
    index_once(chain[1], FEE_COLLECTOR_ADDRESS=emitter)

    kept = IndexedEvent.objects.filter(address=emitter.lower()).order_by("block_number")
    assert [(event.event_name, event.processed) for event in kept] == [
        ("FeeCollected", False),
        ("FeeCollected", False),
        ("FeeCollected", True),
    ]
    assert [event.error.strip().splitlines()[-1:] for event in kept] == [
        ["indexer.abi_types.DecodeError: the data ends at byte 9, byte 32 is needed"],
        ["indexer.abi_types.DecodeError: FeeCollected has 4 topics, the log has 2"],
        [],
    ]
    assert bytes(kept[0].data) == b"too short"
    assert kept[2].event_data["amount"] == str(2**256 - 1)


def test_an_event_that_contradicts_the_others_is_an_anomaly(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    registered = [Web3.keccak(text="QuestionRegistered(bytes32,uint256,bool)"), b"\x07" * 32]
    revealed = [Web3.keccak(text="VoteRevealed(bytes32,address,uint256[],uint256)"), b"\x07" * 32, bytes(32)]
    actions.emit_log(registered, encode(["uint256", "bool"], [2, True]))
    actions.emit_log(revealed, encode(["uint256[]", "uint256"], [[1, 0], 5]))
    actions.emit_log(registered, encode(["uint256", "bool"], [3, False]))

    index_once(chain[1], AURUM_ORACLE_ADDRESS=actions.emitter.address)

    assert [event.processed for event in IndexedEvent.objects.all()] == [True] * 3
    question = Question.objects.get()
    assert (question.outcome_slot_count, question.is_binary, question.timeline.count()) == (2, True, 3)
    anomalies = question.anomalies.order_by("block_number").values_list("event", "problem")
    assert ("VoteRevealed", "VoteRevealed of a question that is registered, not revealing") in anomalies
    assert anomalies.last() == (
        "QuestionRegistered",
        "QuestionRegistered of a question that is registered, not not registered",
    )


def test_a_terminal_gets_a_progress_bar(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    actions.create_market()
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "manage.py"), "run_indexer", "--once"],
        env=environment(chain[1], INDEXER_BATCH_SIZE="3", TERM="xterm"),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other end is closed: the process has ended
            break
    os.close(terminal)
    assert process.wait(timeout=60) == 0
    assert b"indexing: 100%" in shown
    assert b"block/s" in shown
