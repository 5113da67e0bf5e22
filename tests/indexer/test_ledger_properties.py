"""The ledger under any sequence of batches, reorganisations, replays and resets, over chains on which anything happens.

It runs the same every time that the same modules are loaded: Hypothesis mixes their constants into its numbers.
LEDGER_EXAMPLES=500 in the environment looks longer.
"""

import logging
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from django.db import connection, transaction
from eth_abi import decode as abi_decode
from eth_hash.auto import keccak
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from indexer.ledger import rewind
from markets.amm import prices
from markets.models import Amm, Checkpoint, HistoryEntry, LiquidityShare, Market, OutcomeToken, Position
from tests.batches import LEDGER, append, batch_of, differences, empty, from_scratch, header_of
from tests.fakes import FakeBlock, FakeChain, Transaction
from tests.faults.hostile import MAX, HostileWorld, hostile_world
from tests.faults.world import CONDITIONAL_TOKENS, CONTRACTS, ZERO
from tests.snapshots import FEED, database

pytestmark = pytest.mark.django_db

EXAMPLES = int(os.environ.get("LEDGER_EXAMPLES", "20"))
SINGLE = "0x" + keccak(b"TransferSingle(address,address,address,uint256,uint256)").hex()
BATCH = "0x" + keccak(b"TransferBatch(address,address,address,uint256[],uint256[])").hex()


def one_by_one() -> Iterator[int]:
    while True:
        yield 1


def never() -> Iterator[int]:
    while True:
        yield 0


# --- a second implementation ------------------------------------------------------------------------------------------


class Holdings:
    """Who holds what, from raw logs alone: a dict over transfers. What the contract would refuse did not happen.

    `markets` has the market of each id, and the block in which it was made: what one log moves of markets that are
    there is all or nothing, and so is what it moves of each market that comes later.
    """

    def __init__(self, markets: dict[int, tuple[str, int]]) -> None:
        self.markets = markets
        self.held: dict[tuple[int, str], int] = defaultdict(int)
        self.minted: dict[int, int] = defaultdict(int)

    def read(self, blocks: list[FakeBlock]) -> "Holdings":
        for block in blocks:
            for _, logs in block.transactions:
                for log in logs:
                    if log.address == CONDITIONAL_TOKENS and len(log.topics) == 4:
                        self._log(log.topics, log.data, block.number)
        return self

    def _log(self, topics: tuple[str, ...], data: bytes, block_number: int) -> None:
        sender, receiver = ("0x" + topic[26:] for topic in topics[2:])
        moves: list[tuple[int, int]] = []
        if topics[0] == SINGLE:
            id_, value = abi_decode(["uint256", "uint256"], data)
            moves = [(id_, value)]
        elif topics[0] == BATCH:
            ids, values = abi_decode(["uint256[]", "uint256[]"], data)
            moves = list(zip(ids, values, strict=True)) if len(ids) == len(values) else []
        parts: dict[str, list[tuple[int, int]]] = {"": []}  # what is known goes first
        for id_, value in moves:
            if id_ in self.markets:
                market_id, since = self.markets[id_]
                parts.setdefault("" if since <= block_number else market_id, []).append((id_, value))
        if self._move(sender, receiver, parts.pop("")):
            for part in parts.values():
                self._move(sender, receiver, part)

    def _move(self, sender: str, receiver: str, moves: list[tuple[int, int]]) -> bool:
        held, minted = self.held.copy(), self.minted.copy()
        for id_, value in moves:
            held[id_, sender] -= value
            held[id_, receiver] += value
            minted[id_] += value * ((sender == ZERO) - (receiver == ZERO))
            if (held[id_, sender] < 0 and sender != ZERO) or (held[id_, receiver] > MAX and receiver != ZERO):
                return False
        self.held, self.minted = held, minted
        return True


# --- the machine ------------------------------------------------------------------------------------------------------

DICE = st.integers(0, 2**32 - 1)
FEW_BLOCKS = st.lists(DICE, min_size=1, max_size=4)


class LedgerMachine(RuleBasedStateMachine):
    """A chain, and the ledger somewhere behind its head. `events` counts what all machines have stored at their end."""

    events = 0

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        empty()
        self.chain = FakeChain()
        self.worlds = [hostile_world(1)]  # by block, to go back to

    def teardown(self) -> None:
        try:
            if not connection.needs_rollback:
                self.equals_a_fresh_sync()
                LedgerMachine.events += self.checkpoint.event_count
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.objects.get()

    @property
    def world(self) -> HostileWorld:
        return self.worlds[-1]

    # --- the chain -------------------------------------------------------------------------------------------------

    def _mine(self, transactions: list[Transaction], world: HostileWorld) -> None:
        self.chain.append(transactions)
        self.worlds.append(world)

    def _grow(self, seeds: list[int]) -> None:
        for seed in seeds:
            world = self.world.copy()
            world.dice = random.Random(seed)
            self._mine(world.block(), world)

    @initialize(seeds=st.lists(DICE, min_size=4, max_size=10), applied=st.integers(0, 10))
    def begin(self, seeds: list[int], applied: int) -> None:
        self._grow(seeds)
        self.apply(count=applied, finalized=0)

    @rule(seeds=FEW_BLOCKS)
    def mine(self, seeds: list[int]) -> None:
        self._grow(seeds)

    @rule(seeds=FEW_BLOCKS, count=st.integers(1, 5))
    def mine_and_apply(self, seeds: list[int], count: int) -> None:
        self._grow(seeds)
        self.apply(count=count, finalized=0)

    @precondition(lambda self: self.checkpoint.block_number < self.chain.head.number)
    @rule(count=st.integers(1, 12), finalized=st.sampled_from([0, 0, 0, 1, 3, 9]))
    def apply(self, count: int, finalized: int) -> None:
        """The next blocks; of the chain, `finalized` blocks more than of the ledger are final."""
        at = self.checkpoint.block_number
        append(self.chain, count, finalized=min(at + finalized if finalized else 0, self.chain.head.number))

    @precondition(lambda self: self.chain.head.number > self.checkpoint.finalized_block)
    @rule(depth=st.integers(1, 6), below=st.integers(0, 2), again=st.booleans(), seeds=FEW_BLOCKS)
    def reorganise(self, depth: int, below: int, again: bool, seeds: list[int]) -> None:
        """Replaces blocks that are not final; some of the transactions come again, in other blocks."""
        checkpoint = self.checkpoint
        depth = min(depth, self.chain.head.number - checkpoint.finalized_block)
        orphans, worlds = self.chain.rollback(depth), self.worlds[-depth:]
        del self.worlds[-depth:]
        if again:
            self._mine([], self.world)
            self._mine(list(orphans[0].transactions), worlds[0].copy())
        self._grow(seeds)
        for world in self.worlds[-len(seeds) :]:
            world.ghosts += sorted(worlds[-1].amms - world.amms)
        fork = self.chain.blocks[max(orphans[0].number - 1 - below, checkpoint.finalized_block)]
        if checkpoint.block_number >= orphans[0].number:
            last = min(checkpoint.block_number + below, self.chain.head.number)
            batch = batch_of(self.chain, fork.number + 1, last)
            LEDGER.replace_branch(batch, fork=header_of(fork), after=checkpoint)
            connection.check_constraints()

    # --- ways back, and there again --------------------------------------------------------------------------------

    @precondition(lambda self: self.checkpoint.finalized_block <= self.checkpoint.block_number < self.chain.head.number)
    @rule(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3))
    def apply_and_rewind(self, sizes: list[int]) -> None:
        before, at = database(without=FEED), self.checkpoint.block_number
        for size in sizes:
            append(self.chain, size, finalized=0)
        with transaction.atomic():
            rewind(Checkpoint.objects.select_for_update().get(), header_of(self.chain.blocks[at]))
        connection.check_constraints()
        assert differences(database(without=FEED), before) == {}

    @precondition(lambda self: self.checkpoint.block_number > 0)
    @rule()
    def replay(self) -> None:
        before = database()
        count = LEDGER.replay()
        connection.check_constraints()
        assert differences(database(), before) == {}
        assert count == len(before["indexed_events"])

    @precondition(lambda self: self.checkpoint.block_number > 0)
    @rule(share=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    def reset(self, share: float) -> None:
        kept = int(self.checkpoint.block_number * share)
        LEDGER.reset(kept if share else None)
        connection.check_constraints()
        assert self.checkpoint.block_number == kept

    # --- what holds ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.checkpoint.block_number > 0)
    @rule()
    def equals_a_fresh_sync(self) -> None:
        assert self._differences(one_by_one(), never()) == {}

    @precondition(lambda self: self.checkpoint.block_number > 0)
    @rule(seed=DICE)
    def equals_another_partition(self, seed: int) -> None:
        dice = random.Random(seed)
        head = self.chain.head.number
        sizes = iter(lambda: dice.choice([1, 2, 5, 50]), 0)
        finalized = iter(lambda: dice.choice([0, dice.randint(0, head), head]), -1)
        assert self._differences(sizes, finalized) == {}

    def _differences(self, sizes: Iterator[int], finalized: Iterator[int]) -> dict[str, dict[Any, Any]]:
        """Between what is stored and what a fresh sync of the same blocks gives."""
        fresh = from_scratch(self.chain, self.checkpoint.block_number, sizes, finalized)
        return differences(database(without=FEED), fresh)

    @invariant()
    def balances_are_those_of_the_transfers(self) -> None:
        tokens = list(OutcomeToken.objects.select_related("market"))
        markets = {token.position_id: (token.market_id, token.market.block_number) for token in tokens}
        holdings = Holdings(markets).read(self.chain.blocks[: self.checkpoint.block_number + 1])
        positions: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
        for position in Position.objects.all():
            assert position.amount >= 0
            positions[position.market_id, position.outcome_index][position.user_address] = position.amount
        supplies: dict[str, set[int]] = defaultdict(set)
        for token in tokens:
            held = positions.pop((token.market_id, token.outcome_index), {})
            known = {
                holder: amount
                for (id_, holder), amount in holdings.held.items()
                if id_ == token.position_id and amount and holder != ZERO
            }
            assert {holder: amount for holder, amount in held.items() if amount} == known
            assert token.supply == sum(held.values()) == holdings.minted[token.position_id]
            supplies[token.market_id].add(token.supply)
        assert not positions
        uneven = self.worlds[self.checkpoint.block_number].uneven
        assert {market_id for market_id, found in supplies.items() if len(found) > 1} <= uneven

    @invariant()
    def reserves_are_what_the_pools_hold(self) -> None:
        held = {
            (position.market_id, position.user_address, position.outcome_index): position.amount
            for position in Position.objects.all()
        }
        for amm in Amm.objects.select_related("market"):
            if amm.address not in CONTRACTS.fixed:
                outcomes = range(len(amm.market.outcomes))
                balances = [held.get((amm.market_id, amm.address, outcome), 0) for outcome in outcomes]
                assert balances == (amm.reserves or [0] * len(balances))
        for market in Market.objects.filter(reserves__isnull=False):
            priced = prices(market.reserves)
            assert sum(priced) == Fraction(1) if priced else 0 in market.reserves

    @invariant()
    def history_says_what_holdings_cost_and_earned(self) -> None:
        told: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
        for entry in HistoryEntry.objects.all():
            realized, cost = told[entry.user_address, entry.market_id]
            told[entry.user_address, entry.market_id] = (realized + entry.realized_pnl, cost + entry.cost_change)
        held: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
        positions = [(row.user_address, row.market_id, row) for row in Position.objects.all()]
        shares = [(row.holder, row.amm.market_id, row) for row in LiquidityShare.objects.select_related("amm")]
        for holder, market_id, row in (*positions, *shares):
            assert row.amount or not row.cost
            realized, cost = held[holder, market_id]
            held[holder, market_id] = (realized + row.realized_pnl, cost + row.cost)
        pools = set(Amm.objects.values_list("address", flat=True))
        told, held = ({key: sums for key, sums in each.items() if key[0] not in pools} for each in (told, held))
        assert {key: sums for key, sums in held.items() if any(sums)} == {
            key: sums for key, sums in told.items() if any(sums)
        }

    @invariant()
    def nothing_possible_raises_an_alarm(self) -> None:
        suspects = Market.objects.filter(suspect_since__isnull=False)
        doubted = self.worlds[self.checkpoint.block_number].doubted
        reasons = {market.market_id: market.suspect_reason for market in suspects if market.market_id not in doubted}
        assert reasons == {}


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Events that can't be applied are logged with their traceback, and here there are thousands of them."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_quiet")
def test_the_ledger_whatever_happens() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=EXAMPLES,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
            # A smaller case takes minutes to find; what fails is replayed by its steps.
            phases=[Phase.generate],
            print_blob=False,
            report_multiple_bugs=False,
        ),
    )
    # That it is not next to nothing is what the rest rests on; see above for why it is no exact number.
    assert LedgerMachine.events > 10 * EXAMPLES
