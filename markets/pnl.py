"""PURE. What holdings have cost and what they have earned: average cost, in integers of collateral base units.

The method is docs/pnl.md. A holding's tokens move by transfers, and what they cost or brought is told by another event
that comes later. So each function does one half, and after each of them this holds, to the base unit:

    realized_pnl - cost = cash received - cash paid + cost that left with transfers - cost that came with transfers
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from markets.amm import liquidity, weights


class Holding(Protocol):
    """Tokens of one kind in one hand. `cost` is what was paid for those that are left, `realized_pnl` what the others
    have earned, which may be negative."""

    amount: int
    cost: int
    realized_pnl: int


class TokenHolding(Holding, Protocol):
    """Outcome tokens: for `untracked_amount` of them no cost is known, and they count as if they had cost nothing."""

    untracked_amount: int


class Change(NamedTuple):
    """What one event did to a user's realised PnL and to the cost of what they hold; both may be negative."""

    realized_pnl: int
    cost_change: int


# --- one holding ------------------------------------------------------------------------------------------------------


def take_cost(holding: Holding, amount: int) -> int:
    """Takes the cost of `amount` tokens out of a holding: its average, rounded down. Call before the tokens leave."""
    if not holding.cost:
        return 0
    cost = holding.cost * amount // holding.amount
    holding.cost -= cost
    return cost


def take_untracked(holding: TokenHolding, amount: int) -> int:
    """Takes out the untracked part of `amount` tokens, in proportion, rounded down. Call before the tokens leave."""
    if not holding.untracked_amount:
        return 0
    untracked = holding.untracked_amount * amount // holding.amount
    holding.untracked_amount -= untracked
    return untracked


def pay(holding: Holding, cost: int) -> Change:
    """Books what was paid for tokens that have come; where they are all gone again, it is a loss."""
    if holding.amount:
        holding.cost += cost
        return Change(0, cost)
    holding.realized_pnl -= cost
    return Change(-cost, 0)


def find_untracked(holding: TokenHolding, amount: int) -> None:
    """Books tokens that have come without a known cost."""
    holding.untracked_amount = min(holding.untracked_amount + amount, holding.amount)


# --- shares of an amount ----------------------------------------------------------------------------------------------


def even_parts(amount: int, count: int) -> list[int]:
    """`amount` in `count` parts that differ by at most one and sum to it: what the outcomes of a complete set count."""
    borders = [amount * index // count for index in range(count + 1)]
    return [upper - lower for lower, upper in pairwise(borders)]


# --- value ------------------------------------------------------------------------------------------------------------


class PriceWeights(NamedTuple):
    """Prices as integers: an outcome's price is its weight's share of `total`. There are none where `total` is 0."""

    weights: Sequence[int]
    total: int

    def value(self, outcome: int, amount: int) -> int | None:
        """What `amount` of an outcome is worth, rounded down; None without a price."""
        return amount * self.weights[outcome] // self.total if self.total else None


def price_weights(reserves: Sequence[int] | None, payouts: Sequence[int] | None) -> PriceWeights:
    """Of a market: what its outcomes pay once it is resolved, before that the prices of its AMM (amm.py)."""
    each = payouts or (weights(reserves) if reserves else ())
    return PriceWeights(each, sum(each))


def pool_value(reserves: Sequence[int] | None, payouts: Sequence[int] | None) -> int:
    """What a pool's outcome tokens are worth: at what they pay once the market is resolved, before that at its own
    prices; rounded down."""
    if not reserves:
        return 0
    if not payouts:
        return liquidity(reserves)
    return sum(reserve * payout for reserve, payout in zip(reserves, payouts, strict=True)) // sum(payouts)


def values(amounts: Iterable[int], prices: PriceWeights) -> list[int]:
    """What outcome tokens count that go into a pool or come out of it, by outcome; nothing where there is no price."""
    return [prices.value(outcome, amount) or 0 for outcome, amount in enumerate(amounts)]
