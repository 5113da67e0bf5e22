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


# --- what lies behind an offset ---------------------------------------------------------------------------------------


class Reader:
    """Reads one log's data, in hex. Every byte of it may be claimed once: aliased offsets cannot multiply the work."""

    def __init__(self, data: str, *, claimed: int) -> None:
        """`claimed`: the digits up to here are read without it."""
        self.data = data
        self._unclaimed = len(data) - claimed

    def offset(self, start: int) -> int:
        """Where the offset at `start`, which is claimed already, leads."""
        return FIRST + 2 * int(self.data[start : start + WORD], 16)

    def claim(self, start: int, end: int) -> None:
        """Takes the digits from `start` to `end`, all of which must exist."""
        if end > len(self.data):
            raise DecodeError(f"the data ends at byte {_byte(len(self.data))}, byte {_byte(end)} is needed")
        self._unclaimed -= end - start
        if self._unclaimed < 0:
            raise DecodeError("the data is referred to more than once")

    def sized(self, start: int, unit: int) -> tuple[int, int]:
        """Begin and end of what stands behind its length at `start`, in units of so many digits; claims both."""
        begin = start + WORD
        if begin > len(self.data):
            self.claim(start, begin)  # raises
        end = begin + unit * int(self.data[start:begin], 16)
        self.claim(start, end)
        return begin, end


def read_string(reader: Reader, start: int) -> str:
    """A string. Bytes that are no UTF-8, and NUL (which PostgreSQL text cannot hold), become U+FFFD.

    Nothing is lost: the log's own data is stored beside it.
    """
    begin, end = reader.sized(start, 2)
    text = bytes.fromhex(reader.data[begin:end]).decode("utf-8", errors="replace")
    return text.replace("\x00", "\ufffd")


def read_uint256_array(reader: Reader, start: int) -> tuple[int, ...]:
    """A `uint256[]`."""
    begin, end = reader.sized(start, WORD)
    data = reader.data
    return tuple([int(data[at : at + WORD], 16) for at in range(begin, end, WORD)])


def read_string_array(reader: Reader, start: int) -> tuple[str, ...]:
    """A `string[]`: offsets count from the first byte behind the length."""
    heads, end = reader.sized(start, WORD)
    return tuple(read_string(reader, heads - FIRST + reader.offset(head)) for head in range(heads, end, WORD))


DYNAMIC = ("string", "uint256[]", "string[]")


# --- a log ------------------------------------------------------------------------------------------------------------


# How each type is read, as Python. `{text}` is a topic or the data, `{start}` to `{end}` its word there.
EXPRESSIONS: dict[str, str] = {
    "address": "'0x' + {text}[{start} + 24:{end}] if {text}[{start}:{start} + 24] == NO_BITS else "
    "read_address({text}, {start})",
    "bool": "read_bool({text}, {start})",
    "uint256": "int({text}[{start}:{end}], 16)",
    "bytes32": "'0x' + {text}[{start}:{end}]",
    "string": "read_string(reader, reader.offset({start}))",
    "uint256[]": "read_uint256_array(reader, reader.offset({start}))",
    "string[]": "read_string_array(reader, reader.offset({start}))",
}


def parameter_reader(signature: Signature) -> Callable[[tuple[str, ...], str], tuple[Any, ...]]:
    """A function of topics and data that reads one event's values, in the signature's order. It raises DecodeError.

    It is compiled for the signature: a loop over the parameters takes twice as long.
    """
    values, topic, head = [], 1, FIRST
    for parameter in signature.parameters:
        text, start = (f"topics[{topic}]", FIRST) if parameter.indexed else ("data", head)
        values.append(EXPRESSIONS[parameter.type].format(text=text, start=start, end=start + WORD))
        topic += parameter.indexed
        head += 0 if parameter.indexed else WORD
    source = f"""
def read(topics, data):
    if len(topics) != {topic}:
        raise DecodeError(f"{signature.name} has {topic} topics, the log has {{len(topics)}}")
    if len(data) < {head}:
        raise DecodeError(f"the data ends at byte {{_byte(len(data))}}, byte {_byte(head)} is needed")
    reader = Reader(data, claimed={head})
    return ({", ".join(values)},)
"""
    if not any(parameter.type in DYNAMIC for parameter in signature.parameters):
        source = source.replace(f"    reader = Reader(data, claimed={head})\n", "")
    names = dict(globals())
    exec(source, names)  # noqa: S102 - made of our own signatures
    return names["read"]
