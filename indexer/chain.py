"""PURE. What a node says, checked before anything believes it: raw logs and block headers.

Hashes, addresses and topics are lower-case `0x` strings; `data` is bytes; numbers are ints; times are Unix seconds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HASH = re.compile(r"0x[0-9a-fA-F]{64}")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
HEX_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
BLOOM = re.compile(r"0x[0-9a-fA-F]{512}")
MAX_BLOCK_NUMBER = 2**63 - 1  # a BIGINT column


class MalformedAnswer(ValueError):
    """The node's answer does not have the form that the Ethereum JSON-RPC specification gives it."""


class InconsistentAnswer(Exception):
    """Answers of the node do not fit together: it changed its mind in between, or lies. Ask again."""


class BranchChanged(InconsistentAnswer):
    """The blocks do not follow on the one that the caller holds for their parent: perhaps a reorganisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One log as a contract emitted it, with its place in the chain."""

    address: str
    topics: tuple[str, ...]
    data: bytes
    block_number: int
    block_hash: str
    transaction_hash: str
    transaction_index: int
    log_index: int

    @classmethod
    def from_json(cls, answer: Any) -> "Log":
        """Reads one item of `eth_getLogs`. Raises MalformedAnswer; a `removed` log is malformed where none may be."""
        fields = _object(answer, "log")
        topics = fields.get("topics")
        if not isinstance(topics, list) or len(topics) > 4:
            raise MalformedAnswer(f"a log's topics must be a list of at most four: {str(topics)[:80]!r}")
        if fields.get("removed") not in (None, False):
            raise MalformedAnswer("the node served a log of an orphaned block (removed: true)")
        return cls(
            address=_hex(fields, "address", ADDRESS),
            topics=tuple(_matched(topic, "topic", HASH) for topic in topics),
            data=bytes.fromhex(_hex(fields, "data", HEX_BYTES)[2:]),
            block_number=quantity(fields.get("blockNumber"), "blockNumber", MAX_BLOCK_NUMBER),
            block_hash=_hex(fields, "blockHash", HASH),
            transaction_hash=_hex(fields, "transactionHash", HASH),
            transaction_index=quantity(fields.get("transactionIndex"), "transactionIndex", 2**31 - 1),
            log_index=quantity(fields.get("logIndex"), "logIndex", 2**31 - 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One block header; `timestamp` in Unix seconds, `logs_bloom` as one number, None where the node gives none."""

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    logs_bloom: int | None = field(default=None, repr=False)

    @classmethod
    def from_json(cls, answer: Any) -> "Header":
        """Reads one answer of `eth_getBlockByNumber`. Raises MalformedAnswer, also for null."""
        fields = _object(answer, "block")
        return cls(
            number=quantity(fields.get("number"), "number", MAX_BLOCK_NUMBER),
            hash=_hex(fields, "hash", HASH),
            parent_hash=_hex(fields, "parentHash", HASH),
            # The last second that a PostgreSQL timestamp and a Python datetime both hold.
            timestamp=quantity(fields.get("timestamp"), "timestamp", 253_402_300_799),
            logs_bloom=None if fields.get("logsBloom") is None else int(_hex(fields, "logsBloom", BLOOM), 16),
        )


def quantity(value: Any, name: str, maximum: int) -> int:
    """A JSON-RPC quantity such as `0x1f`, at most `maximum`."""
    number = int(_matched(value, name, QUANTITY), 16)
    if number > maximum:
        raise MalformedAnswer(f"{name} is {number}, above {maximum}")
    return number


def _object(answer: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping):
        raise MalformedAnswer(f"expected a {what}, the node answered {str(answer)[:80]!r}")
    return answer


def _hex(fields: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    return _matched(fields.get(name), name, form)


def _matched(value: Any, name: str, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise MalformedAnswer(f"{name} has the wrong form: {str(value)[:80]!r}")
    return value.lower()
