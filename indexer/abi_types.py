"""PURE. Solidity event signatures, and the strict reading of the ABI types that our events use.

Source of the encoding: Solidity documentation, "Contract ABI Specification". Reading is strict where Solidity's own
writing is canonical: padding must be zero, offsets and lengths must lie inside the data, nothing may be read twice.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_hash.auto import keccak

WORD = 32


class DecodeError(ValueError):
    """The log does not carry what its event's signature says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of an event: its Solidity type, its name on chain, and whether it is a topic."""

    type: str
    name: str
    indexed: bool

    @property
    def field(self) -> str:
        """The name in Python: `marketId` is `market_id`; `from` and `to` are words that Python or readers need."""
        return _python_name(self.name)


RENAMED = {"from": "sender", "to": "receiver"}


@cache  # of the few names that our events have
def _python_name(name: str) -> str:
    return RENAMED.get(name) or re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """An event as Solidity declares it: `Name(type indexed name, …)`."""

    name: str
    parameters: tuple[Parameter, ...]

    @classmethod
    def parse(cls, text: str) -> "Signature":
        """Reads a declaration such as `FeesWithdrawn(address indexed token, address indexed to, uint256 amount)`."""
        name, _, inside = text.rstrip(")").partition("(")
        parameters = []
        for declaration in inside.split(","):
            words = declaration.split()
            parameters.append(Parameter(type=words[0], name=words[-1], indexed="indexed" in words))
        return cls(name=name, parameters=tuple(parameters))

    @property
    def topic0(self) -> str:
        """keccak of the canonical signature, lower-case hex."""
        canonical = f"{self.name}({','.join(parameter.type for parameter in self.parameters)})"
        return "0x" + keccak(canonical.encode()).hex()

    @property
    def topic_count(self) -> int:
        """Topics that a log of this event has, topic0 included."""
        return 1 + sum(parameter.indexed for parameter in self.parameters)


class Reader:
    """Reads one log's data. Every byte of it may be claimed once, so that aliased offsets cannot multiply the work."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._unclaimed = len(data)

    def claim(self, start: int, length: int) -> bytes:
        """The bytes from `start`, which must exist."""
        end = start + length
        if end > len(self.data):
            raise DecodeError(f"the data ends at byte {len(self.data)}, byte {end} is needed")
        self._unclaimed -= length
        if self._unclaimed < 0:
            raise DecodeError("the data is referred to more than once")
        return self.data[start:end]

    def uint(self, start: int) -> int:
        """One word as an unsigned integer."""
        return int.from_bytes(self.claim(start, WORD), "big")

    def length(self, start: int) -> int:
        """A length or offset: a word that can't exceed the data."""
        value = self.uint(start)
        if value > len(self.data):
            raise DecodeError(f"a length or offset of {value} lies outside the data")
        return value


def read_address(word: bytes) -> str:
    """An address: 12 zero bytes and 20 of its own."""
    if any(word[:12]):
        raise DecodeError("an address has bits above its 160")
    return "0x" + word[12:].hex()


def read_bool(word: bytes) -> bool:
    """A bool: 0 or 1."""
    value = int.from_bytes(word, "big")
    if value > 1:
        raise DecodeError("a bool is neither 0 nor 1")
    return bool(value)


def read_uint256(word: bytes) -> int:
    """An unsigned integer up to 2^256 - 1."""
    return int.from_bytes(word, "big")


def read_bytes32(word: bytes) -> str:
    """32 bytes as lower-case hex."""
    return "0x" + word.hex()


# Types of one word; these can be topics too.
STATIC: dict[str, Callable[[bytes], Any]] = {
    "address": read_address,
    "bool": read_bool,
    "uint256": read_uint256,
    "bytes32": read_bytes32,
}


def read_string(reader: Reader, start: int) -> str:
    """A string. Bytes that are no UTF-8, and NUL (which PostgreSQL text cannot hold), become U+FFFD.

    Nothing is lost: the log's own data is stored beside it.
    """
    size = reader.length(start)
    text = reader.claim(start + WORD, size).decode("utf-8", errors="replace")
    return text.replace("\x00", "\ufffd")


def read_uint256_array(reader: Reader, start: int) -> tuple[int, ...]:
    """A `uint256[]`."""
    count = reader.length(start)
    body = reader.claim(start + WORD, count * WORD)
    return tuple(int.from_bytes(body[at : at + WORD], "big") for at in range(0, len(body), WORD))


def read_string_array(reader: Reader, start: int) -> tuple[str, ...]:
    """A `string[]`: offsets count from the first byte behind the length."""
    count = reader.length(start)
    heads = start + WORD
    return tuple(read_string(reader, heads + reader.length(heads + index * WORD)) for index in range(count))


DYNAMIC: dict[str, Callable[[Reader, int], Any]] = {
    "string": read_string,
    "uint256[]": read_uint256_array,
    "string[]": read_string_array,
}


def read_parameters(signature: Signature, topics: tuple[str, ...], data: bytes) -> dict[str, Any]:
    """Every parameter of one log by its Python name. Raises DecodeError."""
    if len(topics) != signature.topic_count:
        raise DecodeError(f"{signature.name} has {signature.topic_count} topics, the log has {len(topics)}")
    reader = Reader(data)
    indexed = iter(topics[1:])
    values: dict[str, Any] = {}
    head = 0
    for parameter in signature.parameters:
        if parameter.indexed:
            values[parameter.field] = STATIC[parameter.type](bytes.fromhex(next(indexed)[2:]))
            continue
        if parameter.type in STATIC:
            values[parameter.field] = STATIC[parameter.type](reader.claim(head, WORD))
        else:
            values[parameter.field] = DYNAMIC[parameter.type](reader, reader.length(head))
        head += WORD
    return values
