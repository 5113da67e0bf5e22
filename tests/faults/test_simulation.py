"""The indexer against nodes that fail and lie, branches that are replaced, and crashes; then a quiet end.

Afterwards every table is what a fresh sync of the final chain gives. A seed that fails is repeated by
`make test ARGS="tests/faults -k 'simulation and [SEED]'"`; SEEDS=1000 in the environment runs more of them.
"""

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from aurum.database import connect
from indexer.leadership import Leadership
from indexer.rpc import Rpc
from indexer.runner import PASSING, Deployment, Runner
from markets.models import Checkpoint
from tests.fakes import ANSWER_FAULTS, TRANSPORT_FAULTS, FakeChain, FakeNode, Transaction
from tests.faults.world import CONTRACTS, World
from tests.snapshots import FEED, database

pytestmark = pytest.mark.django_db(transaction=True)

SEEDS = int(os.environ.get("SEEDS", "25"))
KEPT_SEEDS: tuple[int, ...] = (47,)  # seeds that have failed once
ROUNDS = 8
# Two nodes tell the truth when they answer; the faults of one request in so many are spread over all kinds.
FAULT_RATE = 0.06
WINDOW = 8  # blocks that are not final


class Crashed(BaseException):
    """The process is gone, in the middle of whatever it did."""


@contextmanager
def crash_at(statement: int) -> Iterator[None]:
    """Ends the process, as it were, before the given SQL statement; -n: behind the n-th."""
    count = 0

    def execute(run: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if statement == count:
            raise Crashed
        answer = run(*arguments)
        if statement == -count:
            raise Crashed
        return answer

    with connection.execute_wrapper(execute):
        yield


class Simulation:
    """One seed's chain, its nodes, and the indexer that follows it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.world = World(random.Random(seed + 1))
        self.chain = FakeChain()
        self.chain.safe_distance, self.chain.finalized_distance = 2, WINDOW
        self.worlds = [self.world.copy()]  # by block, to go back to
        self.highest = 0
        self.nodes = [FakeNode(self.chain, seed=seed + number, stall=0.2) for number in range(2)]

    def mine(self, transactions: Sequence[Transaction]) -> None:
        self.chain.append(transactions)
        self.worlds.append(self.world.copy())
        self.highest = max(self.highest, self.chain.head.number)

    def grow(self, count: int) -> None:
        for _ in range(count):
            self.mine(self.world.block())

    def replace(self, depth: int, count: int) -> None:
        """Another branch: up to `depth` blocks that are not final are replaced by `count`, or by none for now."""
        depth = min(depth, self.chain.head.number - (self.highest - WINDOW))
        if depth < 1:
            return
        orphans = self.chain.rollback(depth)
        first = self.worlds[-depth]
        del self.worlds[-depth:]
        self.world = self.worlds[-1].copy()
        if self.dice.random() < 0.2 and orphans[0].transactions and count:
            # The same transactions, mined a block later.
            self.mine([])
            count -= 1
            self.world = first.copy()
            self.mine(orphans[0].transactions)
        # From here on other things happen than on the branch before.
        self.world.dice = random.Random(self.dice.random())
        self.grow(count)

    @contextmanager
    def indexer(self) -> Iterator[Runner]:
        """A process of its own, as it were: it knows nothing but what the database says."""
        leadership = Leadership(connect, name="aurum simulated")
        runner = Runner(
            rpc=Rpc([node.url for node in self.nodes], pause=lambda seconds: None),
            leadership=leadership,
            deployment=Deployment(chain_id=self.chain.chain_id, contracts=CONTRACTS, start_block=1),
            batch_size=self.dice.choice([1, 2, 5, 1000]),
            poll_interval=0.0,
            confirmations=WINDOW,
            stop=threading.Event(),
        )
        try:
            yield runner
        finally:
            leadership.release()

    def trouble(self) -> None:
        """Some work under faults, and perhaps a crash in it."""
        indexed = Checkpoint.objects.values_list("block_number", flat=True).get()
        # Blocks that are final before they are read are read by ranges, whose logs nothing but the node vouches for.
        lies = ANSWER_FAULTS if indexed >= self.chain.head.number - WINDOW else ()
        faults = self.dice.sample(TRANSPORT_FAULTS + lies, 6)
        for node in self.nodes:
            node.faults = {fault: FAULT_RATE / 3 for fault in faults if fault != "timeout"}
            node.lag = self.dice.choice([0, 0, 1, 3])
        statement = self.dice.choice([0, self.dice.randint(1, 120), -self.dice.randint(1, 120)])
        with self.indexer() as runner:
            for _ in range(3):
                try:
                    with crash_at(statement):
                        runner._sync()
                except PASSING:
                    continue
                except Crashed:
                    connection.close()
                    return

    def quiet(self) -> None:
        """Honest nodes, until the head is reached."""
        for node in self.nodes:
            node.heal()
            node.lag = 0
        with self.indexer() as runner:
            runner.sync_once()

    def run(self) -> None:
        self.grow(self.dice.randint(5, 30))
        self.quiet()
        for _ in range(ROUNDS):
            self.grow(self.dice.randint(0, 4))
            self.trouble()
            if self.dice.random() < 0.7:
                self.replace(self.dice.randint(1, 3), self.dice.randint(0, 5))
                self.trouble()
            if self.dice.random() < 0.5:
                self.quiet()
        # A head below what was indexed is a node that is behind: only a higher one tells.
        self.grow(self.highest + 1 - self.chain.head.number)
        self.quiet()


@pytest.mark.parametrize("seed", [*KEPT_SEEDS, *range(SEEDS)])
def test_simulation(seed: int) -> None:
    simulation = Simulation(seed)
    with simulation.nodes[0], simulation.nodes[1]:
        simulation.run()
        lived = database(without=FEED)
        assert lived["checkpoint"][0]["block_hash"] == simulation.chain.head.hash
        assert lived["indexed_events"]
        call_command("flush", interactive=False, verbosity=0)
        simulation.quiet()
        assert lived == database(without=FEED)


def test_a_crash_at_every_statement_of_a_batch() -> None:
    """Before and behind each SQL statement of an append and of a reorganisation: the next start makes it good."""
    simulation = Simulation(77)
    with simulation.nodes[0], simulation.nodes[1]:
        simulation.grow(20)
        simulation.quiet()
        crashes = 0
        for replaced in (False, True):
            statement = 1
            while True:
                if replaced:
                    simulation.replace(2, 2)
                else:
                    simulation.grow(1)
                reached = False
                for place in (statement, -statement):
                    try:
                        with simulation.indexer() as runner, crash_at(place):
                            runner._sync()
                        reached = True
                    except Crashed:
                        crashes += 1
                        connection.close()
                simulation.quiet()
                if reached:
                    break
                statement += 1
        assert crashes > 100
        lived = database(without=FEED)
        call_command("flush", interactive=False, verbosity=0)
        simulation.quiet()
        assert lived == database(without=FEED)
