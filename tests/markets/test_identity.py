"""Ids of rows that are one event's alone: where the event stands, in order."""

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.identity import (
    KINDS,
    MAX_PLACED_BLOCK,
    MAX_PLACED_LOG,
    MAX_SEQUENCE,
    event_row_id,
)
from markets.models import HistoryEntry

HASH = "0xabcdef" + "01" * 29
places = st.tuples(
    st.integers(0, MAX_PLACED_BLOCK),
    st.integers(0, MAX_PLACED_LOG),
    st.sampled_from(sorted(KINDS)),
    st.integers(0, MAX_SEQUENCE),
)


def id_at(block_number: int, log_index: int, kind: str, sequence: int, transaction_hash: str = HASH) -> str:
    return event_row_id(kind, block_number, log_index, transaction_hash, sequence)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((0, 0, "event", 0), "00000000-0000-8000-8000-000000abcdef"),
        ((0x12345678, 0x1, "trade", 0), "00001234-5678-8000-8001-100000abcdef"),
        ((0x123456789ABC, 0x123456, "transfer_in", 0x6789A), "12345678-9abc-8123-8456-86789aabcdef"),
        ((2**48 - 1, 2**24 - 1, "remove_liquidity", 2**20 - 1), "ffffffff-ffff-8fff-8fff-cfffffabcdef"),
    ],
)
def test_the_layout(place: tuple[int, int, str, int], expected: str) -> None:
    assert id_at(*place) == expected
    assert str(UUID(expected)) == expected
    assert (UUID(expected).version, UUID(expected).variant) == (8, RFC_4122)


@given(places, places)
def test_ids_are_in_the_order_of_the_chain(one: tuple[int, int, str, int], other: tuple[int, int, str, int]) -> None:
    by_kind = [(block, log, KINDS[kind], sequence) for block, log, kind, sequence in (one, other)]
    assert (id_at(*one) < id_at(*other)) == (by_kind[0] < by_kind[1])
    assert (id_at(*one) == id_at(*other)) == (one == other)


def test_another_transaction_at_the_same_place_has_another_id() -> None:
    assert id_at(7, 1, "event", 0, "0x" + "11" * 32) != id_at(7, 1, "event", 0, "0x" + "12" * 32)


@pytest.mark.parametrize(
    ("place", "what"),
    [((2**48, 0, 0), "block number"), ((0, 2**24, 0), "log index"), ((0, 0, 2**20), "sequence")],
)
def test_what_has_no_room_is_refused(place: tuple[int, int, int], what: str) -> None:
    block_number, log_index, sequence = place
    with pytest.raises(ValueError, match=f"no room for {what} {max(place)}"):
        id_at(block_number, log_index, "split", sequence)


def test_every_type_of_history_is_a_kind() -> None:
    assert set(HistoryEntry.Type.values) < KINDS.keys()
    assert len(set(KINDS.values())) == len(KINDS)
