"""Average cost: what is realised, what holdings have cost, and that it all adds up, to the base unit."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from markets.models import HistoryEntry, LiquidityShare, Position
from markets.pnl import (
    Gone,
    come_back,
    cover,
    even_parts,
    find_untracked,
    go_away,
    pay,
    pool_value,
    price_weights,
    sell,
    take_cost,
    take_untracked,
    values,
)
from tests.batches import taken_back
from tests.factories import MAX_UINT256, UNIT
from tests.story import ACTIONS, SHARES, USERS, Story

# --- the formulas -----------------------------------------------------------------------------------------------------


@dataclass
class Held:
    amount: int
    cost: int = 0
    realized_pnl: int = 0
    untracked_amount: int = 0
    away_amount: int = 0
    away_cost: int = 0


@pytest.mark.parametrize(
    ("held", "cost", "sold", "cost_gone"),
    [
        (10, 65, 4, 26),  # 6.5 each
        (10, 65, 10, 65),  # with the last token goes the last of the cost
        (3, 10, 1, 3),  # rounded down: what is left costs more by the rest
        (3, 10, 2, 6),
        (1_000, 1, 999, 0),
        (1_000, 1, 1_000, 1),
        (5, 0, 2, 0),  # cost nothing
        (MAX_UINT256, MAX_UINT256, MAX_UINT256 - 1, MAX_UINT256 - 1),
    ],
)
def test_what_leaves_takes_its_average_cost(held: int, cost: int, sold: int, cost_gone: int) -> None:
    holding = Held(held, cost)
    assert take_cost(holding, sold) == cost_gone
    assert holding == Held(held, cost - cost_gone)


@pytest.mark.parametrize(
    ("held", "untracked", "sold", "untracked_gone"),
    [(10, 5, 4, 2), (10, 10, 10, 10), (3, 1, 2, 0), (3, 1, 3, 1), (7, 0, 7, 0)],
)
def test_what_leaves_is_untracked_in_proportion(held: int, untracked: int, sold: int, untracked_gone: int) -> None:
    holding = Held(held, 9, 0, untracked)
    assert take_untracked(holding, sold) == untracked_gone
    assert holding == Held(held, 9, 0, untracked - untracked_gone)


def test_paying_for_what_one_holds_is_its_cost_and_for_what_is_gone_a_loss() -> None:
    holding = Held(10, 65)
    assert pay(holding, 35) == (0, 35)
    assert holding == Held(10, 100)
    gone = Held(0, 0, 7)
    assert pay(gone, 35) == (-35, 0)
    assert gone == Held(0, 0, -28)


def test_no_more_is_untracked_than_is_held_and_what_is_gone_has_earned_nothing() -> None:
    holding = Held(10, 0, 0, 3)
    assert find_untracked(holding, 5) == (0, 0)
    assert holding == Held(10, 0, 0, 8)
    assert find_untracked(holding, 5) == (-3, 0)
    assert holding == Held(10, 0, -3, 10)


@pytest.mark.parametrize(
    ("gone", "sold", "proceeds", "realized"),
    [
        (Gone(4, 26, 0), 4, 30, 4),
        (Gone(4, 0, 4), 4, 30, 0),  # of unknown cost: they count to have cost what they bring
        (Gone(4, 6, 1), 4, 30, 30 - 8 - 6),  # a quarter of it, 7.5, rounded up
        (Gone(0, 0, 0), 4, 30, 30),  # nothing has left
    ],
)
def test_what_a_sale_earns(gone: Gone, sold: int, proceeds: int, realized: int) -> None:
    holding = Held(1, 0, -gone.cost)
    assert sell(holding, gone, sold, proceeds) == (realized, -gone.cost)
    assert holding.realized_pnl == realized


def test_what_was_away_comes_back_at_its_cost() -> None:
    holding = Held(0, 0, -30)
    assert go_away(holding, Gone(10, 30, 4)) == (-30, -30)
    assert (holding.away_amount, holding.away_cost) == (6, 30)
    assert come_back(holding, 4) == (4, 20, 0)
    assert come_back(holding, 5) == (5, 10, 3)
    assert holding == Held(0)


def test_what_is_paid_for_it_instead_covers_its_cost() -> None:
    holding = Held(0, 0, -30, 0, away_amount=10, away_cost=30)
    assert cover(holding, 20) == 20
    assert holding == Held(0, 0, -10, 0, away_amount=3, away_cost=10)
    assert cover(holding, 20) == 10
    assert holding == Held(0)
    assert cover(holding, 20) == 0


@pytest.mark.parametrize(
    ("amount", "count", "parts"),
    [
        (100, 2, [50, 50]),
        (7, 3, [2, 2, 3]),
        (1, 4, [0, 0, 0, 1]),
        (0, 2, [0, 0]),
        (10**18, 3, [333333333333333333, 333333333333333333, 333333333333333334]),
    ],
)
def test_the_parts_of_a_complete_set(amount: int, count: int, parts: list[int]) -> None:
    assert even_parts(amount, count) == parts


@given(st.integers(0, MAX_UINT256), st.integers(1, 256))
def test_the_parts_sum_to_the_amount(amount: int, count: int) -> None:
    parts = even_parts(amount, count)
    assert (len(parts), sum(parts)) == (count, amount)
    assert max(parts) - min(parts) <= 1


@pytest.mark.parametrize(
    ("reserves", "payouts", "amount", "worth"),
    [
        # prices 0.65 and 0.35
        ([350, 650], None, 10, [6, 3]),
        ([350 * UNIT, 650 * UNIT], None, 1000, [650, 350]),
        # weights 8, 4, 2
        ([1, 2, 4], None, 7, [4, 2, 1]),
        # resolved: the payout counts, whatever the pool holds
        ([350, 650], [0, 1], 10, [0, 10]),
        (None, [3, 1], 10, [7, 2]),
        ([0, 0], [1, 1], 3, [1, 1]),
        # no pool, no liquidity, two outcomes that are sold out
        (None, None, 10, [None, None]),
        ([0, 0], None, 10, [None, None]),
        ([0, 0, 5], None, 10, [None, None, None]),
    ],
)
def test_what_tokens_are_worth(
    reserves: list[int] | None, payouts: list[int] | None, amount: int, worth: list[int | None]
) -> None:
    prices = price_weights(reserves, payouts)
    assert [prices.value(outcome, amount) for outcome in range(len(worth))] == worth
    assert values([amount] * len(worth), prices) == [value or 0 for value in worth]


@pytest.mark.parametrize(
    ("reserves", "payouts", "worth"),
    [
        ([350 * UNIT, 650 * UNIT], None, 455 * UNIT),
        ([350, 650], [0, 1], 650),
        ([350, 650], [1, 1], 500),
        ([1, 2], [1, 1], 1),  # three halves, rounded down once
        ([0, 0], None, 0),
        (None, [1, 0], 0),
    ],
)
def test_what_a_pool_is_worth(reserves: list[int] | None, payouts: list[int] | None, worth: int) -> None:
    assert pool_value(reserves, payouts) == worth


# --- the ledger, over any history -------------------------------------------------------------------------------------


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    outcome_counts=st.lists(st.integers(2, 8), min_size=1, max_size=3),
    count=st.integers(1, 60),
)
def test_any_history_adds_up(seed: int, outcome_counts: list[int], count: int) -> None:
    with taken_back():
        story = Story(random.Random(seed), outcome_counts)
        story.act(count)
        story.store()
        assert_the_holdings_are_those_of(story)
        assert_the_history_adds_up(story)
        assert_the_identity_holds(story)


def assert_the_holdings_are_those_of(story: Story) -> None:
    """Row by row; a pool has no PnL."""
    numbers = {market.market_id: market.number for market in story.markets}
    amms = {market.pool.address: market.number for market in story.markets}
    stored = {
        (row.user_address, numbers[row.market_id], row.outcome_index): (
            row.amount, row.cost, row.realized_pnl, row.untracked_amount, row.away_amount, row.away_cost,
            row.acquired_amount, row.acquired_cost,
        )
        for row in Position.objects.filter(is_amm=False)
    }  # fmt: skip
    stored |= {
        (row.holder, amms[row.amm_id], SHARES): (row.amount, row.cost, row.realized_pnl, *[0] * 5)
        for row in LiquidityShare.objects.all()
    }
    empty = (0,) * 8
    told = {
        (*_, outcome): (
            held.amount, held.cost, held.realized, held.untracked, held.away, held.away_cost,
            *((0, 0) if outcome == SHARES else (held.acquired, held.acquired_cost)),
        )
        for (*_, outcome), held in story.held.items()
    }  # fmt: skip
    assert {key: row for key, row in stored.items() if row != empty} == {
        key: row for key, row in told.items() if row != empty
    }
    of_pools = Position.objects.filter(is_amm=True).values_list(
        "cost", "realized_pnl", "untracked_amount", "acquired_amount"
    )
    assert set(of_pools) == {(0, 0, 0, 0)}


def assert_the_history_adds_up(story: Story) -> None:
    """At the end of each block its sums are what the user had realised, and what the holdings had cost."""
    realized: Counter[str] = Counter()
    cost: Counter[str] = Counter()
    entries = {}
    for entry in HistoryEntry.objects.order_by("block_number", "log_index", "sequence"):
        entries.setdefault(entry.block_number, []).append(entry)
    for block, users in story.snapshots:
        for entry in entries.get(block, []):
            realized[entry.user_address] += entry.realized_pnl
            cost[entry.user_address] += entry.cost_change
        for user, snapshot in users.items():
            assert (realized[user], cost[user]) == (snapshot.realized, snapshot.cost)


def assert_the_identity_holds(story: Story) -> None:
    """For every user, and for all together."""
    for user in USERS:
        flows, snapshot = story.flows[user], story.snapshot(user)
        unrealized = snapshot.value - snapshot.cost
        assert snapshot.realized + unrealized == (
            flows.received - flows.paid + snapshot.value + flows.cost_out - flows.cost_in
        )
    total = sum(row.realized_pnl - row.cost for row in (*Position.objects.all(), *LiquidityShare.objects.all()))
    every = story.flows.values()
    assert total == sum(flows.received - flows.paid + flows.cost_out - flows.cost_in for flows in every)


@pytest.mark.django_db
def test_the_histories_have_everything_in_them() -> None:
    """Or else the property would say little."""
    happened: Counter[str] = Counter()
    for seed in range(12):
        story = Story(random.Random(seed), [2, 3])
        story.act(150)
        happened.update(story.actions)
        with taken_back():
            story.store()
    assert {action.__name__ for action in ACTIONS} == set(happened)
    assert min(happened.values()) >= 5
