"""Batches that are read ahead: what asking for each gives, with about as many logs as a commit should have."""

from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest

from indexer import ahead
from indexer.ahead import ReadAhead
from indexer.chain import BranchChanged
from indexer.fetch import Batch, Fetcher
from indexer.rpc import Rpc
from tests.fakes import FakeChain, FakeNode
from tests.faults.world import CONTRACTS, World

SEED = 5


@pytest.fixture
def chain() -> FakeChain:
    """A hundred blocks with a life in them, all of which are final."""
    made, world = FakeChain(), World(Random(SEED))
    for _ in range(100):
        made.append(world.block())
    return made


@pytest.fixture
def node(chain: FakeChain) -> Iterator[FakeNode]:
    with FakeNode(chain) as serving:
        yield serving


def fetcher_of(node: FakeNode) -> Fetcher:
    return Fetcher(Rpc([node.url], pause=lambda seconds: None), span=1000)


def batches(reading: ReadAhead, last: int) -> Iterator[Batch]:
    contracts, first, parent = CONTRACTS, 1, ""
    while first <= last:
        batch = reading.read(first, last, contracts, parent_hash=parent)
        yield batch
        contracts, first, parent = batch.contracts, batch.last.number + 1, batch.last.hash


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_all_blocks_come_once_and_in_order(node: FakeNode, size: int) -> None:
    whole = fetcher_of(node).fetch(1, 100, CONTRACTS, trusted_below=100)
    read = list(batches(ReadAhead(fetcher_of(node), batch_size=size), 100))
    assert [batch.first for batch in read][1:] == [batch.last.number + 1 for batch in read][:-1]
    assert (read[0].first, read[-1].last) == (1, whole.last)
    assert tuple(log for batch in read for log in batch.logs) == whole.logs
    assert read[-1].contracts == whole.contracts
    assert all(batch.last.number - batch.first < size for batch in read)


def test_batches_get_as_long_as_their_logs_allow(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LOGS", 30)
    read = list(batches(ReadAhead(fetcher_of(node), batch_size=20), 100))
    expected = 20
    for before, batch in pairwise(read[:-1]):
        blocks = before.last.number - before.first + 1
        expected = max(1, min(20, 30 * blocks // max(1, len(before.logs)), 2 * expected))
        assert batch.last.number - batch.first + 1 == expected
    assert len(read) > 5


def test_the_next_batch_is_there_before_it_is_asked_for(node: FakeNode) -> None:
    reading = ReadAhead(fetcher_of(node), batch_size=10)
    first = reading.read(1, 100, CONTRACTS, parent_hash="")
    assert reading._next is not None
    wanted, future = reading._next
    expected = future.result(timeout=10)
    assert (wanted.first, expected.first) == (11, 11)
    assert reading.read(11, 100, first.contracts, parent_hash=first.last.hash) is expected


def test_what_was_read_ahead_of_another_place_is_not_used(node: FakeNode) -> None:
    reading = ReadAhead(fetcher_of(node), batch_size=10)
    reading.read(1, 100, CONTRACTS, parent_hash="")
    again = reading.read(1, 100, CONTRACTS, parent_hash="")
    assert (again.first, again.last.number) == (1, 10)


def test_what_goes_wrong_ahead_is_raised_where_it_is_asked_for_and_then_tried_again(
    chain: FakeChain, node: FakeNode
) -> None:
    reading = ReadAhead(fetcher_of(node), batch_size=10)
    first = reading.read(1, 100, CONTRACTS, parent_hash="")
    assert reading._next is not None
    reading._next[1].exception(timeout=10)
    chain.reorg(95, [[] for _ in range(95)])
    second = reading.read(11, 100, first.contracts, parent_hash=first.last.hash)  # read before
    assert reading._next is not None
    reading._next[1].exception(timeout=10)
    with pytest.raises(BranchChanged):
        reading.read(21, 100, second.contracts, parent_hash=second.last.hash)
    with pytest.raises(BranchChanged):
        reading.read(21, 100, second.contracts, parent_hash=second.last.hash)
