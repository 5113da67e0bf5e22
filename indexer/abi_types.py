"""PURE. Solidity event signatures, and the strict reading of the ABI types that our events use.

Source of the encoding: Solidity documentation, "Contract ABI Specification". Reading is strict where Solidity's own
writing is canonical: padding must be zero, offsets and lengths must lie inside the data, nothing may be read twice.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from eth_hash.auto import keccak

FIRST = 2  # where the digits of a `0x` string begin
WORD = 64  # digits of 32 bytes


class DecodeError(ValueError):
    """The log does not carry what its event's signature says."""


def _byte(place: int) -> int:
    return (place - FIRST) // 2


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


@dataclass(frozen=True, kw_only=True)
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

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters' names on chain."""
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def topic0(self) -> str:
        """keccak of the canonical signature, lower-case hex."""
        canonical = f"{self.name}({','.join(parameter.type for parameter in self.parameters)})"
        return "0x" + keccak(canonical.encode()).hex()

    @property
    def topic_count(self) -> int:
        """Topics that a log of this event has, topic0 included."""
        return 1 + sum(parameter.indexed for parameter in self.parameters)


# --- one word: 64 hexadecimal digits from `start` on ------------------------------------------------------------------

NO_BITS = "0" * 24


def read_address(text: str, start: int) -> str:
    """An address: 12 zero bytes and 20 of its own."""
    if text[start : start + 24] != NO_BITS:
        raise DecodeError("an address has bits above its 160")
    return "0x" + text[start + 24 : start + WORD]


def read_bool(text: str, start: int) -> bool:
    """A bool: 0 or 1."""
    value = int(text[start : start + WORD], 16)
    if value > 1:
        raise DecodeError("a bool is neither 0 nor 1")
    return bool(value)


def read_uint256(text: str, start: int) -> int:
    """An unsigned integer up to 2^256 - 1."""
    return int(text[start : start + WORD], 16)


def read_bytes32(text: str, start: int) -> str:
    """32 bytes as lower-case hex."""
    return "0x" + text[start : start + WORD]


# Types of one word; these can be topics too.
STATIC: dict[str, Callable[[str, int], Any]] = {
    "address": read_address,
    "bool": read_bool,
    "uint256": read_uint256,
    "bytes32": read_bytes32,
}


# --- what lies behind an offset ---------------------------------------------------------------------------------------


class Reader:
    """Reads one log's data, in hex. Every byte of it may be claimed once: aliased offsets cannot multiply the work."""

    def __init__(self, data: str, *, claimed: int) -> None:
        """`claimed`: the digits up to here are read without it."""
        self.data = data
        self._unclaimed = len(data) - claimed

    def offset(self, start: int) -> int:
        """Where the offset at `start`, which is claimed already, leads."""
        value = int(self.data[start : start + WORD], 16)
        if value > len(self.data):
            raise DecodeError(f"an offset of {value} lies outside the data")
        return FIRST + 2 * value

    def claim(self, start: int, length: int) -> int:
        """The end of `length` digits from `start`, all of which must exist."""
        end = start + length
        if end > len(self.data):
            raise DecodeError(f"the data ends at byte {_byte(len(self.data))}, byte {_byte(end)} is needed")
        self._unclaimed -= length
        if self._unclaimed < 0:
            raise DecodeError("the data is referred to more than once")
        return end

    def length(self, start: int) -> int:
        """A length or offset in bytes: a word that can't exceed the data."""
        value = int(self.data[start : self.claim(start, WORD)], 16)
        if value > len(self.data):
            raise DecodeError(f"a length or offset of {value} lies outside the data")
        return value


def read_string(reader: Reader, start: int) -> str:
    """A string. Bytes that are no UTF-8, and NUL (which PostgreSQL text cannot hold), become U+FFFD.

    Nothing is lost: the log's own data is stored beside it.
    """
    size = 2 * reader.length(start)
    start += WORD
    text = bytes.fromhex(reader.data[start : reader.claim(start, size)]).decode("utf-8", errors="replace")
    return text.replace("\x00", "\ufffd")


def read_uint256_array(reader: Reader, start: int) -> tuple[int, ...]:
    """A `uint256[]`."""
    size = WORD * reader.length(start)
    start += WORD
    end = reader.claim(start, size)
    data = reader.data
    return tuple([int(data[at : at + WORD], 16) for at in range(start, end, WORD)])


def read_string_array(reader: Reader, start: int) -> tuple[str, ...]:
    """A `string[]`: offsets count from the first byte behind the length."""
    count = reader.length(start)
    heads = start + WORD
    return tuple(read_string(reader, heads + 2 * reader.length(heads + index * WORD)) for index in range(count))


DYNAMIC: dict[str, Callable[[Reader, int], Any]] = {
    "string": read_string,
    "uint256[]": read_uint256_array,
    "string[]": read_string_array,
}


# --- a log ------------------------------------------------------------------------------------------------------------


class ParameterReader:
    """Reads the parameters of one event. Where each stands is worked out once, for the event's signature."""

    def __init__(self, signature: Signature) -> None:
        self._name = signature.name
        self._topic_count = signature.topic_count
        # What each parameter is read with: its topic, or None and the place of its head; static, dynamic or neither.
        self._steps: list[tuple[int, int, Callable[[str, int], Any] | None, Callable[[Reader, int], Any] | None]] = []
        topic, head = 1, FIRST
        for parameter in signature.parameters:
            static, dynamic = STATIC.get(parameter.type), DYNAMIC.get(parameter.type)
            if parameter.indexed:
                self._steps.append((topic, FIRST, static, None))
                topic += 1
            else:
                self._steps.append((0, head, static, dynamic))
                head += WORD
        self._heads = head
        self._is_static = all(static is not None for _, _, static, _ in self._steps)

    def read(self, topics: tuple[str, ...], data: str) -> list[Any]:
        """The values in the signature's order. Raises DecodeError."""
        if len(topics) != self._topic_count:
            raise DecodeError(f"{self._name} has {self._topic_count} topics, the log has {len(topics)}")
        if len(data) < self._heads:
            raise DecodeError(f"the data ends at byte {_byte(len(data))}, byte {_byte(self._heads)} is needed")
        if self._is_static:
            return [static(topics[topic] if topic else data, start) for topic, start, static, _ in self._steps]  # type: ignore[misc]
        reader = Reader(data, claimed=self._heads)
        return [
            static(topics[topic] if topic else data, start) if static else dynamic(reader, reader.offset(start))  # type: ignore[misc]
            for topic, start, static, dynamic in self._steps
        ]
