"""PURE. What a node says, checked before anything believes it: raw logs and block headers.

Hashes, addresses, topics and data are lower-case `0x` strings; numbers are ints; times are Unix seconds.
"""

import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from markets.identity import MAX_PLACED_BLOCK, MAX_PLACED_LOG

HASH = re.compile(r"0x[0-9a-fA-F]{64}")
HEX_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
BLOOM = re.compile(r"0x[0-9a-fA-F]{512}")
MAX_CHAIN_ID = 2**63 - 1  # a BIGINT column
MAX_BLOCK_NUMBER = MAX_PLACED_BLOCK
MAX_LOG_INDEX = MAX_PLACED_LOG
MAX_INDEX = 2**31 - 1  # an INTEGER column
WORD_LENGTH = 66  # characters of 32 bytes
ADDRESS_LENGTH = 42

T = TypeVar("T")


class MalformedAnswer(ValueError):
    """The node's answer does not have the form that the Ethereum JSON-RPC specification gives it."""


class InconsistentAnswer(Exception):
    """Answers of the node do not fit together: it changed its mind in between, or lies. Ask again."""


class BranchChanged(InconsistentAnswer):
    """The blocks do not follow on the one that the caller holds for their parent: perhaps a reorganisation."""


class Log(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One log as a contract emitted it, with its place in the chain."""

    address: str
    topics: tuple[str, ...]
    data: str
    block_number: int
    block_hash: str
    transaction_hash: str
    transaction_index: int
    log_index: int


class _LogJson(msgspec.Struct, gc=False, rename="camel"):
    """A log as a node writes it."""

    address: str
    topics: list[str]
    data: str
    block_number: str
    block_hash: str
    transaction_hash: str
    transaction_index: str
    log_index: str
    removed: bool | None = None


_LOGS = msgspec.json.Decoder(list[_LogJson])


def read_logs(answer: bytes) -> list[Log]:
    """Reads an answer of `eth_getLogs`. Raises MalformedAnswer; a `removed` log is malformed where none may be."""
    read = _LogReader()
    return [read(item) for item in decoded(answer, _LOGS, "logs")]


class _LogReader:
    """Checks the parts of logs. The logs of one answer share most of theirs: what was checked once is known."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    def __call__(self, item: _LogJson) -> Log:
        if item.removed:
            raise MalformedAnswer("the node served a log of an orphaned block (removed: true)")
        if len(item.topics) > 4:
            raise MalformedAnswer(f"a log's topics must be at most four, it has {len(item.topics)}")
        words, numbers = self._words, self._numbers
        block_number = numbers.get(item.block_number)
        if block_number is None:
            block_number = self._number(item.block_number, "blockNumber", MAX_BLOCK_NUMBER)
        transaction_index = numbers.get(item.transaction_index)
        if transaction_index is None or transaction_index > MAX_INDEX:
            transaction_index = self._number(item.transaction_index, "transactionIndex", MAX_INDEX)
        log_index = numbers.get(item.log_index)
        if log_index is None or log_index > MAX_LOG_INDEX:
            log_index = self._number(item.log_index, "logIndex", MAX_LOG_INDEX)
        return Log(
            address=self._addresses.get(item.address) or self._address(item.address),
            topics=tuple([words.get(topic) or self._word(topic, "topic") for topic in item.topics]),
            data=_hex_bytes(item.data),
            block_number=block_number,
            block_hash=words.get(item.block_hash) or self._word(item.block_hash, "blockHash"),
            transaction_hash=words.get(item.transaction_hash) or self._word(item.transaction_hash, "transactionHash"),
            transaction_index=transaction_index,
            log_index=log_index,
        )

    def _word(self, value: str, name: str) -> str:
        checked = self._words[value] = _of_length(value, name, WORD_LENGTH)
        return checked

    def _address(self, value: str) -> str:
        checked = self._addresses[value] = _of_length(value, "address", ADDRESS_LENGTH)
        return checked

    def _number(self, value: str, name: str, maximum: int) -> int:
        checked = self._numbers[value] = quantity(value, name, maximum)
        return checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One block header; `timestamp` in Unix seconds, `logs_bloom` as one number, None where the node gives none."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    logs_bloom: int | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, answer: bytes) -> "Header":
        """Reads one answer of `eth_getBlockByNumber`. Raises MalformedAnswer, also for null."""
        item = decoded(answer, _HEADER, "block")
        return cls(
            number=quantity(item.number, "number", MAX_BLOCK_NUMBER),
            hash=_matched(item.hash, "hash", HASH),
            parent_hash=_matched(item.parent_hash, "parentHash", HASH),
            # The last second that a PostgreSQL timestamp and a Python datetime both hold.
            timestamp=quantity(item.timestamp, "timestamp", 253_402_300_799),
            logs_bloom=None if item.logs_bloom is None else int(_matched(item.logs_bloom, "logsBloom", BLOOM), 16),
        )


class _HeaderJson(msgspec.Struct, gc=False, rename="camel"):
    """A block as a node writes it; a pending one has neither number nor hash."""

    number: str
    hash: str
    parent_hash: str
    timestamp: str
    logs_bloom: str | None = None


_HEADER = msgspec.json.Decoder(_HeaderJson)
_ANY = msgspec.json.Decoder()


def parsed(answer: bytes) -> Any:
    """The answer as Python values. Raises MalformedAnswer."""
    return decoded(answer, _ANY, "JSON")


def decoded(answer: bytes, decoder: "msgspec.json.Decoder[T]", what: str) -> T:
    """The answer in the decoder's form. Raises MalformedAnswer."""
    try:
        return decoder.decode(answer)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedAnswer(f"expected {what}, the node answered {shown(answer)}: {str(error)[:80]}") from None


def shown(answer: bytes) -> str:
    """The beginning of an answer, for a message."""
    return repr(bytes(answer[:60]).decode("utf-8", errors="replace"))


def quantity(value: Any, name: str, maximum: int) -> int:
    """A JSON-RPC quantity such as `0x1f`, at most `maximum`."""
    number = int(_matched(value, name, QUANTITY), 16)
    if number > maximum:
        raise MalformedAnswer(f"{name} is {number}, above {maximum}")
    return number


def _matched(value: Any, name: str, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise MalformedAnswer(f"{name} has the wrong form: {str(value)[:80]!r}")
    return value.lower()


def _of_length(value: str, name: str, length: int) -> str:
    if len(value) != length:
        raise MalformedAnswer(f"{name} has the wrong form: {value[:80]!r}")
    return _hex_bytes(value, name)


def _hex_bytes(value: str, name: str = "data") -> str:
    """As `HEX_BYTES` matches, at a tenth of its time. Spaces, which fromhex takes, show by the length."""
    try:
        if value[:2] == "0x" and 2 * len(bytes.fromhex(value[2:])) + 2 == len(value):
            return value.lower()
    except ValueError:
        pass
    raise MalformedAnswer(f"{name} has the wrong form: {value[:80]!r}")
