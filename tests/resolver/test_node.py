"""What nodes say of transactions and calls: in the words of each client, and when it is wrong."""

from typing import Any

import pytest
from eth_abi import encode

from indexer.chain import InconsistentAnswer, MalformedAnswer
from indexer.rpc import Rpc, RpcError
from resolver.node import Fees, NodeChain, Outcome, Receipt, Reverted, error_names, outcome_of, revert_reason
from tests.resolver.wallets import Proxy

HASH, BLOCK = "0x" + "ab" * 32, "0x" + "cd" * 32
HEADER = {"number": "0x7", "hash": BLOCK, "parentHash": HASH, "timestamp": "0x1", "baseFeePerGas": "0x64"}
RECEIPT = {"transactionHash": HASH, "blockHash": BLOCK, "blockNumber": "0x7", "status": "0x1"}

SAID = [
    ("already known", Outcome.KNOWN),  # geth, erigon, reth
    ("transaction already imported", Outcome.KNOWN),  # anvil
    ("AlreadyKnown, hash: 0x01", Outcome.KNOWN),  # nethermind
    ("Known transaction", Outcome.KNOWN),  # besu
    ("nonce too low: next nonce 3, tx nonce 0", Outcome.NONCE_TOO_LOW),  # geth
    ("OldNonce, Current nonce: 3, nonce of rejected tx: 0", Outcome.NONCE_TOO_LOW),
    ("Nonce too low", Outcome.NONCE_TOO_LOW),
    ("replacement transaction underpriced", Outcome.UNDERPRICED),
    ("ReplacementNotAllowed", Outcome.UNDERPRICED),
    ("transaction underpriced: tip needed 1000000, tip permitted 1", Outcome.FEE_TOO_LOW),
    ("max fee per gas less than block base fee: maxFeePerGas: 1, baseFee: 7", Outcome.FEE_TOO_LOW),
    ("FeeTooLow", Outcome.FEE_TOO_LOW),
    ("insufficient funds for gas * price + value: balance 0, tx cost 1", Outcome.NO_FUNDS),
    ("InsufficientFunds, Account balance: 0", Outcome.NO_FUNDS),
    ("intrinsic gas too low: gas 1, minimum needed 21000", Outcome.REFUSED),
    ("exceeds block gas limit", Outcome.REFUSED),
    ("", Outcome.REFUSED),
]


@pytest.mark.parametrize(("said", "outcome"), SAID)
def test_what_clients_say_of_a_transaction(said: str, outcome: Outcome) -> None:
    assert outcome_of(said) is outcome


def test_why_a_contract_refuses() -> None:
    selector = {name: selector for selector, name in error_names().items()}["AlreadyResolved"]
    text = "0x08c379a0" + encode(["string"], ["not <b>yet</b>\n"]).hex()
    for said, reason in (
        (f"execution reverted {selector}{'00' * 32}", "AlreadyResolved"),
        (f"execution reverted: custom error {selector}", "AlreadyResolved"),
        (f"execution reverted {text}", repr("not <b>yet</b>\n")),
        ("execution reverted 0x08c379a0ff", "it reverted"),
        ("execution reverted 0x4e487b71" + "00" * 31 + "11", "panic 0x11"),
        ("execution\nreverted  0xdeadbeef", "execution reverted 0xdeadbeef"),
        ("x" * 1000, "x" * 200),
    ):
        assert revert_reason(said) == reason


class Node:
    """A chain whose node gives these results by method; of `eth_call` it is an error."""

    def __init__(self, proxy: Proxy, **results: Any) -> None:
        for method, result in results.items():
            said = {"error": result} if method == "eth_call" else {"result": result}
            proxy.rules[method] = lambda params, forward, said=said: said
        self.chain = NodeChain(Rpc([proxy.url], pause=lambda seconds: None), confirmations=4)


def test_a_receipt_and_its_block() -> None:
    with Proxy("http://127.0.0.1:1") as proxy:
        node = Node(proxy, eth_getTransactionReceipt=RECEIPT, eth_getBlockByNumber=HEADER)
        assert node.chain.receipt(HASH) == Receipt(block_number=7, block_hash=BLOCK, succeeded=True)
        assert Node(proxy, eth_getTransactionReceipt=RECEIPT | {"status": "0x0"}).chain.receipt(HASH) == Receipt(
            block_number=7, block_hash=BLOCK, succeeded=False
        )
        assert Node(proxy, eth_getTransactionReceipt=None).chain.receipt(HASH) is None


WRONG_RECEIPTS: list[tuple[Any, type[Exception]]] = [
    (RECEIPT | {"transactionHash": BLOCK}, MalformedAnswer),
    (RECEIPT | {"status": "0x2"}, MalformedAnswer),
    (RECEIPT | {"status": None}, MalformedAnswer),
    (RECEIPT | {"blockHash": "0x12"}, MalformedAnswer),
    (RECEIPT | {"blockNumber": "7"}, MalformedAnswer),
    (RECEIPT | {"blockNumber": "0x8"}, MalformedAnswer),  # the node gives block 7 for it
    (RECEIPT | {"blockHash": HASH}, InconsistentAnswer),  # not in its chain
    ([RECEIPT], MalformedAnswer),
    ("0x", MalformedAnswer),
]


@pytest.mark.parametrize(("receipt", "error"), WRONG_RECEIPTS)
def test_a_receipt_that_is_not_believed(receipt: Any, error: type[Exception]) -> None:
    with Proxy("http://127.0.0.1:1") as proxy, pytest.raises(error):
        Node(proxy, eth_getTransactionReceipt=receipt, eth_getBlockByNumber=HEADER).chain.receipt(HASH)


def test_numbers() -> None:
    with Proxy("http://127.0.0.1:1") as proxy:
        node = Node(proxy, eth_getBlockByNumber=HEADER, eth_maxPriorityFeePerGas="0x5", eth_getTransactionCount="0x9")
        assert node.chain.fees() == Fees(base=100, tip=5)
        assert node.chain.count(HASH[:42]) == 9
        assert proxy.heard.count("eth_getTransactionCount") == 2
        answers = iter(["0x9", "0xa"])
        proxy.rules["eth_getTransactionCount"] = lambda params, forward: {"result": next(answers)}
        with pytest.raises(InconsistentAnswer, match="9, and 10"):
            node.chain.count(HASH[:42])


def test_a_call_that_reverts() -> None:
    selector = {name: selector for selector, name in error_names().items()}["VotingOpen"]
    with Proxy("http://127.0.0.1:1") as proxy:
        node = Node(proxy, eth_call={"code": 3, "message": "execution reverted", "data": selector + "00" * 32})
        with pytest.raises(Reverted, match=r"^VotingOpen$"):
            node.chain.call(sender=HASH[:42], to=HASH[:42], data="0x")
        node = Node(proxy, eth_call={"code": -32000, "message": "header not found"})
        with pytest.raises(RpcError):
            node.chain.call(sender=HASH[:42], to=HASH[:42], data="0x")


def test_another_transactions_hash_is_no_yes() -> None:
    with Proxy("http://127.0.0.1:1") as proxy:
        assert Node(proxy, eth_sendRawTransaction=HASH).chain.send(b"\x02").outcome is Outcome.UNKNOWN
