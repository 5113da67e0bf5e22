"""The logs bloom as the chain computes it, and what it proves about a block's logs."""

import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as altered
from web3 import Web3

from indexer.bloom import bits, bloom_of, check_whole
from indexer.chain import Header, InconsistentAnswer, Log, read_logs
from indexer.decode import Contracts
from indexer.devchain.actions import Actions
from indexer.devchain.deploy import Deployment
from indexer.events import AMM, CONDITIONAL_TOKENS, EVENTS, MARKET_FACTORY
from tests.fakes import FakeChain, FakeLog

FACTORY = "0x" + "fa" * 20
TOKENS = "0x" + "c7" * 20
POOL = "0x" + "a1" * 20
FOREIGN = "0x" + "99" * 20
CONTRACTS = Contracts({FACTORY: MARKET_FACTORY, TOKENS: CONDITIONAL_TOKENS})


def topic_of(contract: str, name: str) -> str:
    return next(topic for (of, topic), event in EVENTS.items() if of == contract and event.stored_name == name)


BUY = topic_of(AMM, "FPMMBuy")
CREATED = topic_of(MARKET_FACTORY, "MarketCreated")
SINGLE = topic_of(CONDITIONAL_TOKENS, "TransferSingle")


def read(header: Any, logs: Any) -> tuple[Header, list[Log]]:
    return Header.from_json(json.dumps(header).encode()), read_logs(json.dumps(logs).encode())


def block_of(*transactions: list[FakeLog]) -> tuple[Header, list[Log]]:
    """A block of these transactions, as a truthful node shows it."""
    block = FakeChain().append(transactions)
    return read(block.header(), block.logs())


def test_bits_of_a_known_value() -> None:
    """keccak(0x00 * 20) = 5380c7b7ae81a58e...: bits 0x380, 0x7b7 and 0x681 (of 0xae81)."""
    assert bits("0x" + "00" * 20) == 1 << 0x380 | 1 << 0x7B7 | 1 << 0x681


def test_blooms_of_a_real_chain(chain: tuple[Web3, Deployment], actions: Actions) -> None:
    actions.buy(actions.deploy_amm(actions.create_market()), 0, 1000, sender=actions.accounts[1])
    w3 = chain[0]
    with_logs = 0
    for number in range(w3.eth.block_number + 1):
        answer = w3.provider.make_request("eth_getBlockByNumber", [hex(number), False])["result"]
        logs = w3.provider.make_request("eth_getLogs", [{"blockHash": answer["hash"]}])["result"]
        check_whole(*read(answer, logs))
        with_logs += bool(logs)
    assert with_logs > 5


THREE = (
    [FakeLog(address=TOKENS, topics=(SINGLE, "0x" + "01" * 32)), FakeLog(address=FOREIGN, topics=())],
    [],
    [FakeLog(address=FACTORY, topics=(CREATED,), data=b"x")],
)


def test_a_whole_block_is_believed() -> None:
    header, logs = block_of(*THREE)
    check_whole(header, logs)
    check_whole(*block_of())
    assert bloom_of(logs) == header.logs_bloom


def broken(kind: str, logs: list[Log]) -> list[Log]:
    first, second, third = logs
    return {
        "empty": [],
        "the first missing": [second, third],
        "one missing": [first, third],
        "the last missing": [first, second],
        "twice": [first, first, second, third],
        "an index twice": [first, altered(second, log_index=0), third],
        "shuffled": [second, first, third],
        "renumbered": [altered(second, log_index=0), altered(third, log_index=1)],
        "another topic": [altered(first, topics=("0x" + "02" * 32,)), second, third],
        "another address": [altered(first, address=FACTORY), second, third],
        "another block": [first, second, altered(third, block_hash="0x" + "00" * 32)],
        "another height": [first, second, altered(third, block_number=2)],
        "transactions backwards": [altered(first, transaction_index=5), second, third],
        "one transaction in two places": [first, second, altered(third, transaction_hash=first.transaction_hash)],
        "two transactions in one place": [first, altered(second, transaction_hash="0x" + "00" * 32), third],
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "empty", "the first missing", "one missing", "the last missing", "twice", "an index twice", "shuffled",
        "renumbered", "another topic", "another address", "another block", "another height", "transactions backwards",
        "one transaction in two places", "two transactions in one place",
    ],
)  # fmt: skip
def test_what_is_not_all_of_a_block(kind: str) -> None:
    header, logs = block_of(*THREE)
    with pytest.raises(InconsistentAnswer, match="block 1"):
        check_whole(header, broken(kind, logs))


def test_a_header_without_a_bloom_proves_nothing() -> None:
    header, logs = block_of(*THREE)
    with pytest.raises(InconsistentAnswer):
        check_whole(replace(header, logs_bloom=None), logs)
