"""Encoded frames, and what clients' frames are read as."""

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Frame as ReadFrame
from websockets.frames import Opcode
from websockets.streams import StreamReader

from markets.frames import Frame
from markets.protocol import ERRORS, FrameError, echoed, read_frame, read_target
from markets.snapshots import KINDS
from oracle import channel as oracle

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "sockets.md"
FORMS = {name: kind.form for name, kind in KINDS.items()} | {"oracle": oracle.KIND.form}
A, B = "0x" + "aB" * 32, "0x" + "cd" * 32
USER = "0x" + "Ee" * 20


@pytest.mark.parametrize("length", [2, 125, 126, 127, 65535, 65536, 100_000])
def test_a_frame_is_what_a_client_reads(length: int) -> None:
    """The payload's length takes 7, 16 or 64 bits."""
    text = json.dumps("\u00e9" * 3 + "x" * (length - 8), ensure_ascii=False) if length > 8 else '""'
    reader = StreamReader()
    reader.feed_data(Frame(text).wire)
    with pytest.raises(StopIteration) as parsed:
        next(ReadFrame.parse(reader.read_exact, mask=False))
    read = parsed.value.value
    assert (read.opcode, read.fin, bytes(read.data)) == (Opcode.TEXT, True, text.encode())
    assert reader.buffer == b""
    assert len(text.encode()) == length


def test_half_a_surrogate_pair_comes_back_as_it_was() -> None:
    assert Frame.of({"id": "\ud800"}).wire[2:] == b'{"id":"\\ud800"}'


def test_the_latest_stands_for_those_before_it() -> None:
    frame = Frame('{"seq":9}', channel="prices:0x", seq=9)
    assert frame.standing_for(9) is frame
    replaced = frame.standing_for(4)
    assert json.loads(replaced.text) == {"seq": 9, "skipped": [4, 8]}
    assert (replaced.first, replaced.seq, replaced.channel) == (4, 9, "prices:0x")


TARGETS: list[tuple[dict[str, Any], tuple[str, tuple[str, ...], bool, dict[str, int]]]] = [
    ({"channel": "market", "marketId": A}, ("market", (A.lower(),), False, {})),
    ({"channel": "prices", "marketId": B, "since": 7}, ("prices", (B,), False, {B: 7})),
    ({"channel": "prices", "marketId": B, "since": None, "more": 1}, ("prices", (B,), False, {})),
    ({"channel": "market", "marketIds": [A, B]}, ("market", (A.lower(), B), True, {})),
    ({"channel": "market", "marketIds": [A, B], "since": {A: 0}}, ("market", (A.lower(), B), True, {A.lower(): 0})),
    ({"channel": "markets"}, ("markets", ("",), False, {})),
    ({"channel": "markets", "since": 3}, ("markets", ("",), False, {"": 3})),
    ({"channel": "user", "address": USER}, ("user", (USER.lower(),), False, {})),
    ({"channel": "oracle"}, ("oracle", ("",), False, {})),
    ({"channel": "oracle", "questionId": A, "since": 1}, ("oracle", (A.lower(),), False, {A.lower(): 1})),
]


@pytest.mark.parametrize(("frame", "expected"), TARGETS)
def test_what_a_frame_names(frame: dict[str, Any], expected: tuple[Any, ...]) -> None:
    target = read_target(frame, FORMS)
    assert (target.channel, target.keys, target.is_batch, dict(target.since)) == expected


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "unknown_channel"),
    ({"channel": "nothing"}, "unknown_channel"),
    ({"channel": ["market"]}, "unknown_channel"),
    ({"channel": "market"}, "bad_market_id"),
    ({"channel": "market", "marketId": "0x12"}, "bad_market_id"),
    ({"channel": "market", "marketId": A + "\n"}, "bad_market_id"),
    ({"channel": "market", "marketIds": []}, "bad_market_id"),
    ({"channel": "market", "marketIds": A}, "bad_market_id"),
    ({"channel": "market", "marketIds": [A, A.lower()]}, "bad_market_id"),
    ({"channel": "market", "marketIds": [A], "marketId": A}, "bad_market_id"),
    ({"channel": "market", "marketIds": [f"0x{number:064x}" for number in range(101)]}, "bad_market_id"),
    ({"channel": "market", "marketIds": [A, None]}, "bad_market_id"),
    ({"channel": "user"}, "bad_address"),
    ({"channel": "user", "address": A}, "bad_address"),
    ({"channel": "oracle", "questionId": USER}, "bad_question_id"),
    ({"channel": "market", "marketId": A, "since": -1}, "bad_since"),
    ({"channel": "market", "marketId": A, "since": True}, "bad_since"),
    ({"channel": "market", "marketId": A, "since": 1.0}, "bad_since"),
    ({"channel": "market", "marketId": A, "since": 2**63}, "bad_since"),
    ({"channel": "market", "marketId": A, "since": "1"}, "bad_since"),
    ({"channel": "market", "marketIds": [A], "since": 1}, "bad_since"),
    ({"channel": "market", "marketIds": [A], "since": {B: 1}}, "bad_since"),
]


@pytest.mark.parametrize(("frame", "code"), BAD)
def test_what_a_frame_can_not_name(frame: dict[str, Any], code: str) -> None:
    with pytest.raises(FrameError) as refused:
        read_target(frame, FORMS)
    assert refused.value.code == code
    assert str(refused.value)


@pytest.mark.parametrize(
    ("text", "code"),
    [(None, "binary_frame"), ("{", "bad_json"), ("[" * 100_000, "bad_json"), ("[]", "bad_frame"), ("NaN", "bad_frame")],
)
def test_what_is_no_frame(text: str | None, code: str) -> None:
    with pytest.raises(FrameError) as refused:
        read_frame(text)
    assert refused.value.code == code


def test_a_client_gets_its_own_id_back() -> None:
    for own in (7, "a", 0, "x" * 200):
        assert echoed({"id": own}) == {"id": own}
    assert [echoed({"id": own}) for own in (None, True, 1.5, [], {}, "x" * 201, 10**201)] == [{}] * 7


def test_every_error_is_documented() -> None:
    table = DOCUMENT.read_text().partition("## Errors")[2]
    rows = [line.strip("|").split("|", 1) for line in table.splitlines() if line.startswith("| `")][1:]
    assert {code.strip(" `"): meaning.strip() for code, meaning in rows} == ERRORS
