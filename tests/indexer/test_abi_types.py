"""Decoding against eth_abi's encoder, and against data that no honest contract emits."""

import json
import time
from typing import Any

import eth_abi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.abi_types import DecodeError, Parameter, Signature, parameter_reader
from indexer.chain import Log
from indexer.decode import decode
from indexer.events import EVENTS, ChainEvent, event_data, event_json
from tests.factories import MAX_UINT256

CLASSES = sorted(set(EVENTS.values()), key=lambda event_class: event_class.__name__)
STRINGS = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=100)
UINTS = st.integers(0, MAX_UINT256)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    "bytes32": st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex()),
    "bool": st.booleans(),
    "uint256": UINTS,
    "uint256[]": st.lists(UINTS, max_size=6).map(tuple),
    "string": STRINGS,
    "string[]": st.lists(STRINGS, max_size=6).map(tuple),
}
ONE_UINT = Signature.parse("One(uint256 value)")
ONE_ADDRESS = Signature.parse("One(address value)")
ONE_BOOL = Signature.parse("One(bool value)")
ONE_ARRAY = Signature.parse("One(uint256[] values)")
ONE_STRING = Signature.parse("One(string value)")
STRING_ARRAY = Signature.parse("One(string[] values)")
INDEXED_ADDRESS = Signature.parse("One(address indexed value)")
TOPIC0 = "0x" + "00" * 32


def read_parameters(signature: Signature, topics: tuple[str, ...], data: bytes) -> dict[str, Any]:
    """What the indexer reads, by name."""
    values = parameter_reader(signature)(topics, "0x" + data.hex())
    return {parameter.field: value for parameter, value in zip(signature.parameters, values, strict=True)}


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def encoded(type_: str, value: Any) -> Any:
    """The value as eth_abi takes it."""
    return bytes.fromhex(value[2:]) if type_ == "bytes32" else value


def log_of(signature: Signature, values: dict[str, Any]) -> tuple[tuple[str, ...], bytes]:
    """Topics and data of an event, by eth_abi."""
    topics, types, rest = [signature.topic0], [], []
    for parameter in signature.parameters:
        value = encoded(parameter.type, values[parameter.field])
        if parameter.indexed:
            topics.append("0x" + eth_abi.encode([parameter.type], [value]).hex())
        else:
            types.append(parameter.type)
            rest.append(value)
    return tuple(topics), eth_abi.encode(types, rest)


def values_of(signature: Signature) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({parameter.field: VALUES[parameter.type] for parameter in signature.parameters})


EXAMPLES: dict[str, Any] = {
    "address": "0x" + "ab" * 20,
    "bytes32": "0x" + "cd" * 32,
    "bool": True,
    "uint256": MAX_UINT256,
    "uint256[]": (0, 1, MAX_UINT256),
    "string": "Will it? \u202e <b>",
    "string[]": ("Yes", "", "No" * 40),
}


def example_of(signature: Signature) -> dict[str, Any]:
    return {parameter.field: EXAMPLES[parameter.type] for parameter in signature.parameters}


# --- what eth_abi writes, we read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_class", CLASSES, ids=lambda event_class: event_class.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_event_reads_what_eth_abi_writes(event_class: type[ChainEvent], data: st.DataObject) -> None:
    values = data.draw(values_of(event_class.signature))
    topics, body = log_of(event_class.signature, values)
    assert read_parameters(event_class.signature, topics, body) == values
    event = event_class(**values)
    assert event == event_class(**read_parameters(event_class.signature, topics, body))
    assert json.loads(event_json(event)) == event_data(event)


# --- what nobody should write -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_class", CLASSES, ids=lambda event_class: event_class.__name__)
def test_data_cut_at_any_byte_is_refused(event_class: type[ChainEvent]) -> None:
    topics, data = log_of(event_class.signature, example_of(event_class.signature))
    for length in range(len(data)):
        try:
            values = read_parameters(event_class.signature, topics, data[:length])
        except DecodeError:
            continue
        # Only the padding behind a last string says nothing: without it, nothing is lost.
        assert values == example_of(event_class.signature)
        assert not any(data[length:])


@pytest.mark.parametrize("event_class", CLASSES, ids=lambda event_class: event_class.__name__)
def test_a_wrong_number_of_topics_is_refused(event_class: type[ChainEvent]) -> None:
    topics, data = log_of(event_class.signature, example_of(event_class.signature))
    for wrong in (topics[:-1], (*topics, topics[0]), ()):
        with pytest.raises(DecodeError, match="topics"):
            read_parameters(event_class.signature, wrong, data)


@pytest.mark.parametrize("event_class", CLASSES, ids=lambda event_class: event_class.__name__)
@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=512))
def test_noise_is_an_event_or_a_decode_error(event_class: type[ChainEvent], data: bytes) -> None:
    topics = (event_class.signature.topic0,) + (TOPIC0,) * (event_class.signature.topic_count - 1)
    try:
        values = read_parameters(event_class.signature, topics, data)
    except DecodeError:
        return
    assert set(values) == {parameter.field for parameter in event_class.signature.parameters}


@settings(max_examples=300, deadline=None)
@given(data=st.lists(st.one_of(st.integers(0, 400), UINTS), max_size=24).map(lambda words: b"".join(map(word, words))))
def test_words_that_could_be_offsets_are_values_or_a_decode_error(data: bytes) -> None:
    for signature in (ONE_ARRAY, ONE_STRING, STRING_ARRAY):
        try:
            values = read_parameters(signature, (TOPIC0,), data)
        except DecodeError:
            continue
        assert len(values) == 1


HUGE = word(MAX_UINT256)


@pytest.mark.parametrize(
    ("signature", "data"),
    [
        pytest.param(ONE_UINT, b"", id="no data"),
        pytest.param(ONE_UINT, bytes(31), id="a byte short"),
        pytest.param(ONE_BOOL, word(2), id="bool 2"),
        pytest.param(ONE_BOOL, HUGE, id="bool 2^256-1"),
        pytest.param(ONE_ADDRESS, word(1 << 160), id="bit 161 of an address"),
        pytest.param(ONE_ADDRESS, HUGE, id="an address of ones"),
        pytest.param(ONE_ARRAY, word(33), id="offset behind the data"),
        pytest.param(ONE_ARRAY, word(32), id="offset to the very end"),
        pytest.param(ONE_ARRAY, HUGE, id="offset 2^256-1"),
        pytest.param(ONE_ARRAY, word(32) + HUGE, id="length 2^256-1"),
        pytest.param(ONE_ARRAY, word(32) + word(2) + word(1), id="length above what is there"),
        pytest.param(ONE_ARRAY, word(0), id="offset to itself"),
        pytest.param(ONE_ARRAY, word(1) + word(0), id="offset into a word"),
        pytest.param(ONE_STRING, word(32) + word(1), id="a character missing"),
        pytest.param(ONE_STRING, word(0), id="a string at its own offset"),
        pytest.param(STRING_ARRAY, word(32) + word(1) + word(0), id="a string that is its own offset"),
        pytest.param(
            STRING_ARRAY, word(32) + word(2) + word(64) * 2 + word(32) + bytes(32), id="two strings share bytes"
        ),
        pytest.param(STRING_ARRAY, word(32) + word(3), id="three strings, none there"),
    ],
)
def test_malformed_data_is_refused(signature: Signature, data: bytes) -> None:
    with pytest.raises(DecodeError):
        read_parameters(signature, (TOPIC0,), data)


def test_an_address_topic_with_dirty_padding_is_refused() -> None:
    with pytest.raises(DecodeError, match="160"):
        read_parameters(INDEXED_ADDRESS, (TOPIC0, "0x01" + "00" * 31), b"")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"plain", "plain"),
        ("ümläut 🎲".encode(), "ümläut 🎲"),
        (b"a\x00b", "a\ufffdb"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"cut \xe2\x82", "cut \ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # a lone surrogate
        (b"", ""),
    ],
)
def test_strings_that_no_database_takes_become_ones_that_it_does(written: bytes, read: str) -> None:
    data = word(32) + word(len(written)) + written
    assert read_parameters(ONE_STRING, (TOPIC0,), data) == {"value": read}
    array = word(32) + word(1) + word(32) + word(len(written)) + written
    assert read_parameters(STRING_ARRAY, (TOPIC0,), array) == {"values": (read,)}


def test_aliased_offsets_cannot_multiply_the_work() -> None:
    """10,000 strings that all point to the same 300 kB would be 3 GB."""
    count, size = 10_000, 300_000
    heads = word(count * 32) * count
    data = word(32) + word(count) + heads + word(size) + b"x" * size
    started = time.perf_counter()
    with pytest.raises(DecodeError, match="more than once"):
        read_parameters(STRING_ARRAY, (TOPIC0,), data)
    assert time.perf_counter() - started < 1


def test_a_long_honest_array_is_read_quickly() -> None:
    values = tuple(range(20_000))
    started = time.perf_counter()
    assert read_parameters(ONE_ARRAY, (TOPIC0,), eth_abi.encode(["uint256[]"], [values])) == {"values": values}
    assert time.perf_counter() - started < 1


# --- signatures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "field"),
    [("marketId", "market_id"), ("from", "sender"), ("to", "receiver"), ("amm", "amm"), ("isBinary", "is_binary")],
)
def test_names_in_python(name: str, field: str) -> None:
    assert Parameter(type="uint256", name=name, indexed=False).field == field


def test_parse_reads_types_names_and_topics() -> None:
    signature = Signature.parse("A(uint256[] xs, address indexed to)")
    assert signature.parameters == (
        Parameter(type="uint256[]", name="xs", indexed=False),
        Parameter(type="address", name="to", indexed=True),
    )
    assert signature.topic_count == 2


def test_decode_gives_the_event() -> None:
    event_class = next(event_class for event_class in CLASSES if event_class.__name__ == "FeeCollected")
    topics, data = log_of(event_class.signature, example_of(event_class.signature))
    log = Log(
        address="0x" + "00" * 20,
        topics=topics,
        data="0x" + data.hex(),
        block_number=1,
        block_hash=TOPIC0,
        transaction_hash=TOPIC0,
        transaction_index=0,
        log_index=0,
    )
    assert decode(log, event_class) == event_class(**example_of(event_class.signature))
