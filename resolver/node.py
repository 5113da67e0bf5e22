"""What the wallet asks of the chain and tells it, over the same endpoints that the indexer reads from.

Answers are checked like the indexer's (indexer/chain.py), and an endpoint whose answer is wrong is passed over.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from eth_abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from indexer.chain import (
    HASH,
    HEX_BYTES,
    MAX_BLOCK_NUMBER,
    Header,
    InconsistentAnswer,
    MalformedAnswer,
    parsed,
    quantity,
    shown,
)
from indexer.endpoints import NULL, Call, Endpoint, RpcError, RpcRefused, RpcUnavailable
from indexer.rpc import REVERT_CODE, REVERTED, Rpc, read_header

ABI = Path(__file__).resolve().parent.parent / "indexer" / "abi"
LARGEST_AMOUNT = 2**256 - 1
LARGEST_NONCE = 2**63 - 1  # a BIGINT column
REASON_LENGTH = 200  # characters of what a contract gives for its reason

T = TypeVar("T")


class Reverted(Exception):
    """The contract refuses the call. The text is the error's name, or what the contract says, shortened."""


class Outcome(StrEnum):
    """What became of a transaction that was sent."""

    ACCEPTED = "accepted"
    KNOWN = "already known"
    NONCE_TOO_LOW = "nonce too low"
    UNDERPRICED = "a transaction of this nonce pays more, or nearly as much"
    FEE_TOO_LOW = "fee below the base fee, or below what the node takes"
    NO_FUNDS = "insufficient funds"
    REFUSED = "refused"
    UNKNOWN = "no answer: it may have been taken"


# How clients say it: geth, erigon, reth, anvil, nethermind, besu. The first that fits counts.
WORDS: tuple[tuple[re.Pattern[str], Outcome], ...] = (
    (re.compile(r"already.?known|already imported|known transaction|already in", re.I), Outcome.KNOWN),
    (re.compile(r"nonce.{0,20}too.?low|old.?nonce|nonce.{0,40}(?:already used|below)", re.I), Outcome.NONCE_TOO_LOW),
    (re.compile(r"replace", re.I), Outcome.UNDERPRICED),
    (re.compile(r"insufficient.?(?:funds|balance)|upfront cost|exceeds.{0,20}balance", re.I), Outcome.NO_FUNDS),
    (
        re.compile(r"underpriced|base ?fee|fee.?cap|fee.?too.?low|gas price.{0,20}(?:low|below|less)", re.I),
        Outcome.FEE_TOO_LOW,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What the nodes said of a transaction; `said` is the most telling one's words, redacted."""

    outcome: Outcome
    said: str = ""

    @property
    def taken(self) -> bool:
        return self.outcome in (Outcome.ACCEPTED, Outcome.KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A transaction in a block that the same node has in its chain."""

    block_number: int
    block_hash: str
    succeeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """The market: the latest block's base fee and the tip that the node suggests, in wei a unit of gas."""

    base: int
    tip: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """The chain's head, and the height up to which nothing changes any more."""

    head: Header
    finalized: int


class Chain(Protocol):
    """The chain. Every method raises RpcError, MalformedAnswer or InconsistentAnswer where no node serves.

    Addresses, hashes and data are lower-case 0x strings.
    """

    def chain_id(self) -> int: ...

    def look(self) -> Sight: ...

    def fees(self) -> Fees: ...

    def count(self, address: str, block: str = "latest") -> int:
        """Transactions of the address at the block, which two readings agree on (InconsistentAnswer)."""

    def balance(self, address: str) -> int:
        """Wei."""

    def receipt(self, transaction_hash: str) -> Receipt | None:
        """None where no node has it in a block."""

    def knows(self, transaction_hash: str) -> bool:
        """Whether any node has the transaction, in a block or waiting."""

    def block_hash(self, number: int) -> str | None:
        """Of the canonical block at this height; None above the head."""

    def call(self, *, sender: str, to: str, data: str, block: str = "latest") -> bytes:
        """What the contract answers, nothing sent. Raises Reverted."""

    def estimate(self, *, sender: str, to: str, data: str) -> int:
        """Gas that the call needs. Raises Reverted."""

    def send(self, raw: bytes) -> Sending:
        """Gives nodes the transaction. Raises nothing: what is not known is `UNKNOWN`."""


class NodeChain:
    """The chain that the nodes of `rpc` show. `confirmations` count where they have no `finalized` block."""

    def __init__(self, rpc: Rpc, *, confirmations: int) -> None:
        self._rpc = rpc
        self._pool = rpc.pool
        self._confirmations = confirmations

    def chain_id(self) -> int:
        return self._rpc.chain_id()

    def look(self) -> Sight:
        view = self._rpc.look()
        tagged = view.finalized if view.finalized is not None else view.head.number - self._confirmations
        return Sight(head=view.head, finalized=min(tagged, view.head.number))

    def fees(self) -> Fees:
        return self._pool.attempt(_fees)

    def count(self, address: str, block: str = "latest") -> int:
        readings = self._readings(partial(_quantity, ("eth_getTransactionCount", [address, block]), LARGEST_NONCE), 2)
        if len(set(readings)) > 1:
            raise InconsistentAnswer(f"the count of transactions is {readings[0]}, and {readings[1]}")
        return readings[0]

    def balance(self, address: str) -> int:
        return self._pool.attempt(partial(_quantity, ("eth_getBalance", [address, "latest"]), LARGEST_AMOUNT))

    def receipt(self, transaction_hash: str) -> Receipt | None:
        return self._first_found(partial(_receipt, transaction_hash))

    def knows(self, transaction_hash: str) -> bool:
        return self._first_found(partial(_known, transaction_hash)) is not None

    def block_hash(self, number: int) -> str | None:
        return self._first_found(partial(_block_hash, number))

    def call(self, *, sender: str, to: str, data: str, block: str = "latest") -> bytes:
        asked: Call = ("eth_call", [{"from": sender, "to": to, "data": data}, block])
        answer = self._pool.attempt(partial(_answered, asked), opinions=2)
        if isinstance(answer, Reverted):
            raise answer
        returned = parsed(answer)
        if not isinstance(returned, str) or not HEX_BYTES.fullmatch(returned):
            raise MalformedAnswer(f"eth_call answered {shown(answer)}")
        return bytes.fromhex(returned[2:])

    def estimate(self, *, sender: str, to: str, data: str) -> int:
        asked: Call = ("eth_estimateGas", [{"from": sender, "to": to, "data": data}, "latest"])
        answer = self._pool.attempt(partial(_answered, asked), opinions=2)
        if isinstance(answer, Reverted):
            raise answer
        return quantity(parsed(answer), "gas", LARGEST_NONCE)

    def send(self, raw: bytes) -> Sending:
        """Asks one endpoint after the other until one has it. A refusal by one may be another's yes."""
        sendings = []
        for endpoint in self._preferred():
            sending = _sent(raw, endpoint)
            if sending.taken:
                return sending
            sendings.append(sending)
        return min(sendings, key=lambda sending: _TELLING.get(sending.outcome, 2))

    def _preferred(self) -> list[Endpoint]:
        return sorted(self._pool.endpoints, key=Endpoint.preference)

    def _readings(self, work: Callable[[Endpoint], T], wanted: int) -> list[T]:
        """Of different endpoints where there are as many that answer, else of one several times."""
        readings: list[T] = []
        error: Exception | None = None
        for endpoint in self._preferred() * wanted:
            try:
                readings.append(work(endpoint))
            except (RpcError, MalformedAnswer, InconsistentAnswer) as failure:
                endpoint.failed(failure)
                error = failure
            else:
                endpoint.answered()
            if len(readings) == wanted:
                return readings
        raise error or RpcUnavailable("no RPC endpoint answers")

    def _first_found(self, work: Callable[[Endpoint], T | None]) -> T | None:
        """What the first endpoint has that has it; None where those that answer have nothing."""
        error: Exception | None = None
        answered = False
        for endpoint in self._preferred():
            try:
                found = work(endpoint)
            except (RpcError, MalformedAnswer, InconsistentAnswer) as failure:
                endpoint.failed(failure)
                error = failure
                continue
            endpoint.answered()
            answered = True
            if found is not None:
                return found
        if error is not None and not answered:
            raise error
        return None


# Of several refusals, which one to believe: a used nonce makes the wallet look; then what may have been taken.
_TELLING = {Outcome.NONCE_TOO_LOW: 0, Outcome.UNKNOWN: 1}


def outcome_of(said: str) -> Outcome:
    """What a node's refusal of a transaction means."""
    return next((outcome for words, outcome in WORDS if words.search(said)), Outcome.REFUSED)


def revert_reason(said: str) -> str:
    """The error's name where our ABIs have it, or what the contract says. `said` is a node's refusal of a call."""
    for data in re.findall(r"0x[0-9a-fA-F]{8,}", said):
        selector = data[:10].lower()
        if selector in error_names():
            return error_names()[selector]
        if selector in _STANDARD_ERRORS:
            return _standard(selector, data)
    return re.sub(r"\s+", " ", said)[:REASON_LENGTH]


@cache
def error_names() -> Mapping[str, str]:
    """Selector -> name of the errors in the contracts' ABIs."""
    names = {}
    for path in sorted(ABI.glob("*.json")):
        loaded = json.loads(path.read_text())
        for item in loaded if isinstance(loaded, list) else loaded["abi"]:
            if item["type"] == "error":
                signature = f"{item['name']}({','.join(field['type'] for field in item['inputs'])})"
                names["0x" + keccak(signature.encode())[:4].hex()] = item["name"]
    return names


# Solidity's own (documentation, "Panic via assert and Error via require").
_STANDARD_ERRORS = {"0x08c379a0": "string", "0x4e487b71": "uint256"}


def _standard(selector: str, data: str) -> str:
    try:
        (value,) = decode([_STANDARD_ERRORS[selector]], bytes.fromhex(data[10 : 10 + (len(data) - 10) // 2 * 2]))
    except (DecodingError, UnicodeDecodeError, OverflowError):
        return "it reverted"
    return f"panic {value:#x}" if isinstance(value, int) else repr(value)[:REASON_LENGTH]


def _sent(raw: bytes, endpoint: Endpoint) -> Sending:
    try:
        answer = parsed(endpoint.ask([("eth_sendRawTransaction", ["0x" + raw.hex()])])[0])
    except RpcRefused as error:
        endpoint.answered()
        return Sending(outcome=outcome_of(error.said), said=str(error))
    except (RpcError, MalformedAnswer) as error:
        endpoint.failed(error)
        return Sending(outcome=Outcome.UNKNOWN, said=str(error))
    if answer != "0x" + keccak(raw).hex():
        return Sending(outcome=Outcome.UNKNOWN, said=f"{endpoint.host}: it answered with another transaction's hash")
    endpoint.answered()
    return Sending(outcome=Outcome.ACCEPTED)


def _quantity(call: Call, maximum: int, endpoint: Endpoint) -> int:
    return quantity(parsed(endpoint.ask([call])[0]), call[0], maximum)


def _fees(endpoint: Endpoint) -> Fees:
    block = parsed(endpoint.ask([("eth_getBlockByNumber", ["latest", False])])[0])
    if not isinstance(block, dict):
        raise MalformedAnswer(f"{endpoint.host}: no latest block")
    base = quantity(block.get("baseFeePerGas"), "baseFeePerGas", LARGEST_AMOUNT)
    try:
        tip = _quantity(("eth_maxPriorityFeePerGas", []), LARGEST_AMOUNT, endpoint)
    except RpcRefused:
        tip = 0  # it does not know the method; the wallet has a least tip of its own
    return Fees(base=base, tip=tip)


def _receipt(transaction_hash: str, endpoint: Endpoint) -> Receipt | None:
    answer = endpoint.ask([("eth_getTransactionReceipt", [transaction_hash])])[0]
    if answer == NULL:
        return None
    item = _object(answer, endpoint)
    if item.get("blockNumber") is None:
        return None  # waiting, as some nodes say it
    if str(item.get("transactionHash")).lower() != transaction_hash:
        raise MalformedAnswer(f"{endpoint.host}: the receipt is another transaction's")
    block_hash = item.get("blockHash")
    if not isinstance(block_hash, str) or not HASH.fullmatch(block_hash):
        raise MalformedAnswer(f"{endpoint.host}: the receipt's blockHash has the wrong form")
    number = quantity(item["blockNumber"], "blockNumber", MAX_BLOCK_NUMBER)
    status = quantity(item.get("status"), "status", 1)
    header = read_header(endpoint.ask([("eth_getBlockByNumber", [hex(number), False])])[0], number, endpoint.host)
    if header.hash != block_hash.lower():
        raise InconsistentAnswer(f"{endpoint.host}: the receipt's block {number} is not in its chain")
    return Receipt(block_number=number, block_hash=header.hash, succeeded=status == 1)


def _known(transaction_hash: str, endpoint: Endpoint) -> bool | None:
    answer = endpoint.ask([("eth_getTransactionByHash", [transaction_hash])])[0]
    if answer == NULL:
        return None
    if str(_object(answer, endpoint).get("hash")).lower() != transaction_hash:
        raise MalformedAnswer(f"{endpoint.host}: asked for a transaction, the node answered with another one")
    return True


def _block_hash(number: int, endpoint: Endpoint) -> str | None:
    answer = endpoint.ask([("eth_getBlockByNumber", [hex(number), False])])[0]
    return None if answer == NULL else read_header(answer, number, endpoint.host).hash


def _answered(call: Call, endpoint: Endpoint) -> bytes | Reverted:
    """The answer; the contract's refusal, which is one as well."""
    try:
        return endpoint.ask([call])[0]
    except RpcRefused as error:
        if error.code == REVERT_CODE or REVERTED.search(error.said):
            return Reverted(revert_reason(error.said))
        raise


def _object(answer: bytes, endpoint: Endpoint) -> dict[str, Any]:
    item = parsed(answer)
    if not isinstance(item, dict):
        raise MalformedAnswer(f"{endpoint.host}: expected an object, the node answered {shown(answer)}")
    return item
