"""What a node may answer, and what must never be believed."""

import json
from typing import Any

import pytest

from indexer.chain import Header, Log, MalformedAnswer, quantity, read_logs

HASH = "0x" + "Ab" * 32
ADDRESS = "0x" + "cD" * 20
LOG: dict[str, Any] = {
    "address": ADDRESS,
    "topics": [HASH, "0x" + "00" * 32],
    "data": "0x00FF",
    "blockNumber": "0x10",
    "blockHash": HASH,
    "transactionHash": HASH,
    "transactionIndex": "0x0",
    "logIndex": "0xffffff",
}
BLOCK: dict[str, Any] = {"number": "0x10", "hash": HASH, "parentHash": HASH, "timestamp": "0x65920080"}


def read_log(answer: Any) -> Log:
    """The one log of an answer."""
    [log] = read_logs(json.dumps([answer]).encode())
    return log


def read_header(answer: Any) -> Header:
    return Header.from_json(json.dumps(answer).encode())


def test_log_in_lower_case() -> None:
    assert read_log(LOG | {"removed": False}) == Log(
        address=ADDRESS.lower(),
        topics=(HASH.lower(), "0x" + "00" * 32),
        data="0x00ff",
        block_number=16,
        block_hash=HASH.lower(),
        transaction_hash=HASH.lower(),
        transaction_index=0,
        log_index=2**24 - 1,
    )


def test_anonymous_log_without_topics_and_data() -> None:
    log = read_log(LOG | {"topics": [], "data": "0x"})
    assert (log.topics, log.data) == ((), "0x")


NOT_A_QUANTITY = (None, "", "0x", "16", 16, "0xg", "-0x1", "0x 1", "0x" + "1" * 65, True, 1.5, [], "0x1\n", "0X10")


@pytest.mark.parametrize("answer", [None, [], "0x", 1, "a" * 10_000, [LOG]], ids=lambda answer: str(answer)[:10])
def test_what_is_no_object_is_refused_in_a_short_message(answer: Any) -> None:
    for read in (read_log, read_header):
        with pytest.raises(MalformedAnswer) as refused:
            read(answer)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("name", LOG)
def test_a_log_without_a_field_is_refused(name: str) -> None:
    with pytest.raises(MalformedAnswer, match=name):
        read_log({key: value for key, value in LOG.items() if key != name})


@pytest.mark.parametrize("name", BLOCK)
def test_a_header_without_a_field_is_refused(name: str) -> None:
    with pytest.raises(MalformedAnswer, match=name):
        read_header({key: value for key, value in BLOCK.items() if key != name})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", HASH),
        ("address", "0x" + "zz" * 20),
        ("address", ADDRESS[2:]),
        ("address", ADDRESS + "\n"),
        ("topics", None),
        ("topics", HASH),
        ("topics", [HASH] * 5),
        ("topics", [None]),
        ("topics", ["0x01"]),
        ("topics", [{"a": 1}]),
        ("data", None),
        ("data", "0x0"),
        ("data", "00"),
        ("data", "0xzz"),
        ("blockHash", None),
        ("blockHash", ADDRESS),
        ("transactionHash", 5),
        ("logIndex", "0x1000000"),
        ("transactionIndex", "0x80000000"),
        ("blockNumber", "0x1000000000000"),
        ("removed", True),
        ("removed", "true"),
        ("removed", 1),
        *(("blockNumber", value) for value in NOT_A_QUANTITY),
    ],
)
def test_a_malformed_log_is_refused(field: str, value: Any) -> None:
    with pytest.raises(MalformedAnswer):
        read_log(LOG | {field: value})


def test_header() -> None:
    assert read_header(BLOCK) == Header(number=16, hash=HASH.lower(), parent_hash=HASH.lower(), timestamp=1_704_067_200)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hash", None),
        ("hash", "0x"),
        ("parentHash", ADDRESS),
        ("number", None),  # a pending block
        ("number", "0x1000000000000"),
        ("timestamp", hex(253_402_300_800)),
        ("timestamp", "0x" + "f" * 64),
    ],
)
def test_a_malformed_header_is_refused(field: str, value: Any) -> None:
    with pytest.raises(MalformedAnswer):
        read_header(BLOCK | {field: value})


@pytest.mark.parametrize(("written", "number"), [("0x0", 0), ("0x00ff", 255), ("0xFF", 255), ("0x100", 256)])
def test_quantity(written: str, number: int) -> None:
    assert quantity(written, "n", 256) == number


def test_quantity_above_its_maximum() -> None:
    with pytest.raises(MalformedAnswer, match="n is 257, above 256"):
        quantity("0x101", "n", 256)
