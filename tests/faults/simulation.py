"""One seed's chain, two nodes that fail and lie, and an indexer that is killed again and again; then a quiet end.

Everything is decided by the seed: the dice, a clock that goes on with each request, and one request at a time.
"""

import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from django.db import connection

from aurum.database import connect
from indexer.leadership import Leadership
from indexer.rpc import Rpc
from indexer.runner import PASSING, Deployment, Runner
from tests.fakes import ANSWER_FAULTS, FAULTS, RANGE_REFUSALS, FakeBlock, FakeChain, FakeNode, Limits, Transaction
from tests.faults.world import CONTRACTS, World

ROUNDS = 6
WINDOW = 8  # blocks that are not final
FAULT_RATES = (0.05, 0.15, 0.4)  # of a node's requests, in times of trouble
SECONDS_PER_REQUEST = 0.5  # on the clock that the indexer sees
OMISSIONS = ("empty_logs", "omitted_log")  # what only a second opinion can find in a range
MOODS = (FAULTS, FAULTS, ANSWER_FAULTS, OMISSIONS)  # what a node gets wrong for a while is some of one of these
LARGEST_ANSWER = 80  # logs: a block of the world has fewer


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


class Clock:
    """Seconds that pass when somebody pauses, or asks a node."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


class Stop(threading.Event):
    """Waits by the clock, which takes no time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.pause(timeout)
        return self.is_set()


class Node(FakeNode):
    """A node in front of which things happen. It lies on its own, but nobody tells one falsehood about a block twice:
    two answers that agree are believed far from the head (docs/indexer.md), and chance would make some agree.
    """

    simulation: "Simulation"

    def _answer(self, call: dict[str, Any], fault: str | None) -> dict[str, Any]:
        self.simulation.before_answer(f"{call['method']} {call['params']} {fault}")
        return super()._answer(call, fault)

    def _spoilt_logs(self, logs: list[dict[str, Any]], query: dict[str, Any], fault: str | None) -> Any:
        told = super()._spoilt_logs(logs, query, fault)
        if told is None or "address" not in query:  # all of a block is checked against its header
            return told
        said, true = _by_block(told), _by_block(logs)
        falsehoods = {
            (block, said.get(block)) for block in said.keys() | true.keys() if said.get(block) != true.get(block)
        }
        if falsehoods & self.simulation.falsehoods:
            return logs
        self.simulation.falsehoods |= falsehoods
        return told


def _by_block(logs: Sequence[dict[str, Any]]) -> dict[str, frozenset[str]]:
    numbers = {log["blockNumber"] for log in logs}
    return {number: frozenset(json.dumps(log) for log in logs if log["blockNumber"] == number) for number in numbers}


class Simulation:
    """The chain and what happened on it, by block; the nodes; whatever is to happen while the indexer runs."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.clock = Clock()
        self.world = World(random.Random(seed + 1))
        self.chain = FakeChain()
        self.chain.safe_distance, self.chain.finalized_distance = 2, WINDOW
        self.worlds = [self.world.copy()]  # by block, to go back to
        self.abandoned: list[tuple[list[FakeBlock], list[World]]] = []  # branches, with their worlds
        self.highest = 0
        self.nodes = [Node(self.chain, seed=seed + number, stall=0.02) for number in range(2)]
        for node in self.nodes:
            node.simulation = self
            node.limits = _limits(self.dice)
            node.tags = self.dice.random() < 0.8
        self.asked: list[str] = []  # ever
        self.answers = 0  # since the process started
        self.surprises: dict[int, Callable[[], None]] = {}  # by the number of the answer before which they come
        self.last_request = 0  # the process dies behind it; 0: never
        self.falsehoods: set[tuple[str, frozenset[str] | None]] = set()
        self.stop = Stop(self.clock)

    # --- the chain -------------------------------------------------------------------------------------------------

    def mine(self, transactions: Sequence[Transaction]) -> None:
        self.chain.append(transactions)
        self.worlds.append(self.world.copy())
        self.highest = max(self.highest, self.chain.head.number)

    def grow(self, count: int) -> None:
        for _ in range(count):
            self.mine(self.world.block())

    def reorganise(self) -> None:
        """One of the ways in which a chain changes its mind."""
        depth, count = self.dice.choice([1, 1, 2, 3, 5, WINDOW]), self.dice.randint(0, 6)
        match self.dice.choice(["replace", "replace", "lower", "empty", "same", "twice", "back", "back"]):
            case "replace":
                self.replace(depth, count)
            case "lower":
                self.replace(depth, 0)
            case "empty":
                self.replace(depth, 0)
                for _ in range(count):
                    self.mine([])
            case "same":
                self.mine_again(depth)
            case "twice":
                self.replace(depth, count)
                self.replace(self.dice.randint(1, 3), self.dice.randint(0, 3))
            case "back":
                self.go_back()
        # What was mined again, or restored, may be as long as before, or longer.
        self.grow(self.dice.choice([0, 0, 1, 2]))

    def replace(self, depth: int, count: int) -> None:
        """Another branch: up to `depth` blocks that are not final are replaced by `count`, or by none for now."""
        if self._abandon(depth):
            # From here on other things happen than on the branch before.
            self.world.dice = random.Random(self.dice.random())
            self.grow(count)

    def mine_again(self, depth: int) -> None:
        """The transactions of the last blocks in other blocks: each a block later, or all in one."""
        if not self._abandon(depth):
            return
        orphans, worlds = self.abandoned[-1]
        blocks = [block.transactions for block in orphans]
        blocks = [(), *blocks] if self.dice.random() < 0.5 else [tuple(sum(blocks, ()))]
        for transactions in blocks:
            self.mine(transactions)
        self.world = worlds[-1].copy()
        self.worlds[-1] = self.world.copy()
        self.world.dice = random.Random(self.dice.random())

    def go_back(self) -> None:
        """A branch that was abandoned is the chain's again, as far as no final block parts from it."""
        for place in range(len(self.abandoned) - 1, -1, -1):
            blocks, worlds = self.abandoned[place]
            parent = blocks[0].number - 1
            above = self.chain.head.number - parent
            if (
                parent >= self._final
                and above >= 0
                and self.chain.blocks[parent].hash == blocks[0].parent_hash
                and self.chain.blocks[parent + 1 : parent + 2] != blocks[:1]
            ):
                del self.abandoned[place]
                if above:
                    self._abandon(above)
                self.chain.restore(blocks)
                self.worlds += worlds
                self.world = worlds[-1].copy()
                self.highest = max(self.highest, self.chain.head.number)
                return

    @property
    def _final(self) -> int:
        return self.highest - WINDOW

    def _abandon(self, depth: int) -> bool:
        """Takes up to `depth` blocks that are not final off the chain."""
        depth = min(depth, self.chain.head.number - self._final, self.chain.head.number)
        if depth < 1:
            return False
        self.abandoned.append((self.chain.rollback(depth), self.worlds[-depth:]))
        del self.worlds[-depth:]
        self.world = self.worlds[-1].copy()
        return True

    # --- the indexer -----------------------------------------------------------------------------------------------

    @contextmanager
    def indexer(self, *, batch_size: int | None = None) -> Iterator[Runner]:
        """A process of its own, as it were: it knows nothing but what the database says."""
        leadership = Leadership(connect, name="aurum simulated")
        self.stop.clear()
        self.falsehoods.clear()
        self.answers = requests = 0

        def observe(*_: object) -> None:
            nonlocal requests
            requests += 1
            if requests == self.last_request:
                raise Crashed

        runner = Runner(
            rpc=Rpc(
                [node.url for node in self.nodes],
                pause=self.clock.pause,
                clock=self.clock,
                random=random.Random(self.dice.random()),
                observe=observe,
            ),
            leadership=leadership,
            deployment=Deployment(chain_id=self.chain.chain_id, contracts=CONTRACTS, start_block=1),
            batch_size=batch_size or self.dice.choice([1, 2, 3, 5, 8, 1000]),
            poll_interval=0.0,
            confirmations=WINDOW,
            stop=self.stop,
            patience=5.0,
            spawn=lambda work: work(),  # a thread would draw the dice whenever it gets to it
        )
        try:
            yield runner
        finally:
            leadership.release()

    def before_answer(self, question: str) -> None:
        """Called by the nodes, in the middle of a request, and of a batch of calls."""
        self.asked.append(question)
        self.clock.pause(SECONDS_PER_REQUEST)
        self.answers += 1
        if happens := self.surprises.pop(self.answers, None):
            happens()

    def change_lags(self) -> None:
        for node in self.nodes:
            node.lag = self.dice.choice([0, 0, 0, 1, 3, 12])

    def trouble(self) -> None:
        """A process's life under faults, while the chain goes on; it may end anywhere."""
        for node in self.nodes:
            mood = self.dice.choice(MOODS)
            faults = self.dice.sample(mood, self.dice.randint(1, min(10, len(mood))))
            node.faults = dict.fromkeys(faults, self.dice.choice(FAULT_RATES) / len(faults))
        self.change_lags()
        happenings = [self.reorganise, self.reorganise, lambda: self.grow(1), lambda: self.grow(4), self.change_lags]
        self.surprises = {
            self.dice.randint(1, 150): self.dice.choice(happenings) for _ in range(self.dice.choice([0, 1, 2, 4]))
        }
        statement = 0
        match self.dice.choice(["", "", "statement", "statement", "request", "stop"]):
            case "statement":
                statement = self.dice.choice([1, -1]) * self.dice.randint(1, 150)
            case "request":
                self.last_request = self.dice.randint(1, 80)
            case "stop":
                self.surprises[self.dice.randint(1, 150)] = self.stop.set
        try:
            with self.indexer() as runner, crash_at(statement):
                for _ in range(3):
                    with suppress(*PASSING):
                        runner._sync()
        except Crashed:
            connection.close()
        self.surprises, self.last_request = {}, 0

    def quiet(self, *, batch_size: int | None = None) -> None:
        """Honest nodes, until the head is reached."""
        for node in self.nodes:
            node.heal()
            node.lag = 0
        with self.indexer(batch_size=batch_size) as runner:
            runner.sync_once()

    def run(self) -> None:
        self.grow(self.dice.choice([10, 30, 60]))
        for _ in range(ROUNDS):
            self.grow(self.dice.choice([0, 1, 2, 4, 4, 12]))
            if self.dice.random() < 0.4:
                self.reorganise()
            self.trouble()
            if self.dice.random() < 0.3:
                self.quiet()
        # A head below what was indexed is a node that is behind: only a higher one tells.
        self.grow(self.highest + 1 - self.chain.head.number)
        self.quiet()


def _limits(dice: random.Random) -> Limits:
    """What a node allows, and how it says so."""
    limits = Limits(refusal=dice.choice(RANGE_REFUSALS), stall=dice.random() < 0.1)
    match dice.choice(["", "", "blocks", "blocks", "results", "addresses", "batch", "ranges", "whole"]):
        case "blocks":
            limits.blocks = dice.choice([1, 2, 3, 7, 20])
        case "results":
            limits.results = LARGEST_ANSWER
        case "addresses":
            limits.addresses = dice.choice([1, 2, 3])
        case "batch":
            limits.batch = dice.choice([1, 2, 5])
        case "ranges":
            limits.ranges = False
        case "whole":
            limits.whole_blocks = False
    return limits
