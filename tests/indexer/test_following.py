"""The runner at the head, over a fake node: what a new block costs, and what is believed of a chain that changes."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from aurum.database import connect
from aurum.log_context import log_context, log_fields
from indexer.ahead import in_thread
from indexer.leadership import Leadership
from indexer.rpc import Rpc, View
from indexer.runner import Deployment, Runner, WrongChain
from markets.models import Checkpoint
from tests.fakes import FakeChain, FakeNode
from tests.faults.world import CONTRACTS
from tests.hearing import hearing
from tests.snapshots import database

pytestmark = pytest.mark.django_db(transaction=True)


class InterruptedRpc(Rpc):
    """Between the parts of its next view, `interrupt` happens: what it says of finality is of the moment after."""

    interrupt: Callable[[], None] | None = None

    def look(self, number: int | None = None) -> View:
        view = super().look(number)
        if self.interrupt is None:
            return view
        self.interrupt()
        self.interrupt = None
        after = super().look()
        return replace(view, finalized=after.finalized, safe=after.safe)


@contextmanager
def following(chain: FakeChain, node: FakeNode) -> Iterator[Runner]:
    """A process that has synced to the head."""
    leadership = Leadership(connect, name="aurum following test")
    runner = Runner(
        rpc=InterruptedRpc([node.url], pause=lambda seconds: None),
        leadership=leadership,
        deployment=Deployment(chain_id=chain.chain_id, contracts=CONTRACTS, start_block=1),
        batch_size=100,
        poll_interval=0.0,
        confirmations=8,
        stop=threading.Event(),
    )
    try:
        runner.sync_once()
        yield runner
    finally:
        leadership.release()


def test_a_new_block_costs_one_look_its_logs_and_another_look() -> None:
    chain = FakeChain()
    chain.mine(20)
    with FakeNode(chain) as node, following(chain, node) as runner:
        posts = node.posts
        for _ in range(5):
            chain.append()
            runner.sync_once()
        assert node.posts == posts + 5 * 3
    checkpoint = Checkpoint.objects.get()
    assert (checkpoint.block_number, checkpoint.finalized_block, checkpoint.safe_block) == (25, 17, 21)


def test_a_node_that_is_on_another_chain_suddenly() -> None:
    chain = FakeChain()
    chain.mine(20)
    with FakeNode(chain) as node, following(chain, node) as runner:
        before = database()
        node.chain = FakeChain(chain_id=1)
        node.chain.mine(30)
        with pytest.raises(WrongChain, match="the node is on chain 1"):
            runner.sync_once()
        node.chain.chain_id = chain.chain_id
        with pytest.raises(WrongChain, match="genesis_hash"):
            runner.sync_once()
    assert database() == before


def test_what_became_final_while_it_looked_is_not_taken_for_final_of_its_own_branch() -> None:
    chain = FakeChain()
    chain.mine(20)
    with FakeNode(chain) as node, following(chain, node) as runner:
        # The stored block was seen, then replaced, and the replacement is final when the tag is read.
        assert isinstance(runner.rpc, InterruptedRpc)
        runner.rpc.interrupt = lambda: chain.reorg(5, [[]] * 20) and None
        runner.sync_once()
        assert Checkpoint.objects.get().finalized_block == 12
        runner.sync_once()
        assert Checkpoint.objects.get().block_hash == chain.head.hash
        runner.sync_once()
        assert Checkpoint.objects.get().finalized_block == 27


def test_each_batch_has_an_id_of_its_own_on_all_its_lines() -> None:
    chain = FakeChain()
    chain.mine(20)
    with FakeNode(chain) as node, following(chain, node) as runner, hearing("indexer") as lines:
        chain.append()
        runner.sync_once()
        node.fail("error_500")
        chain.append()
        runner.sync_once()
    ids = [fields["requestId"] for _, fields in lines]
    assert [message for message, _ in lines if message.startswith("indexed")] == [
        "indexed 1 blocks to 21",
        "indexed 1 blocks to 22",
    ]
    assert all(re.fullmatch("batch-[0-9a-f]{32}", each) for each in ids)
    # What went wrong with a batch stands under its id.
    failed = next(fields for message, fields in lines if message.startswith("RPC endpoint failed"))
    assert [failed["requestId"] == each for each in ids] == [False, True, True]
    assert log_fields() == {}


def test_what_is_read_ahead_is_read_under_the_id_of_the_batch_in_hand() -> None:
    seen: list[dict[str, object]] = []
    ahead = threading.Event()

    def work() -> None:
        seen.append(log_fields())
        ahead.set()

    with log_context(requestId="batch-1"):
        in_thread(work)
        assert ahead.wait(30)
    assert seen == [{"requestId": "batch-1"}]
