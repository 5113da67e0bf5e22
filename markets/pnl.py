"""PURE. What holdings have cost and what they have earned: average cost, in integers of collateral base units.

The method is docs/pnl.md. A holding's tokens move by transfers, and what they cost or brought is told by another event
that comes later. So each function does one half, and after each of them this holds, to the base unit:

    realized_pnl - cost = cash received - cash paid + cost that left - cost that came

Of tokens whose cost nobody knows, what they bring is the cost that came: they neither earn nor lose.
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
    """Outcome tokens: for `untracked_amount` of them no cost is known. `away_amount` are those that became something
    that the ledger does not follow, and have cost `away_cost`."""

    untracked_amount: int
    away_amount: int
    away_cost: int


class Change(NamedTuple):
    """What one event did to a user's realised PnL and to the cost of what they hold; both may be negative."""

    realized_pnl: int
    cost_change: int


def total(changes: Iterable[Change]) -> Change:
    """What several changes did together."""
    each = list(changes)
    return Change(sum(change.realized_pnl for change in each), sum(change.cost_change for change in each))


class Gone(NamedTuple):
    """Tokens that have left a holding: what they had cost, and how many of them were untracked."""

    amount: int = 0
    cost: int = 0
    untracked: int = 0


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


def sell(holding: Holding, gone: Gone, amount: int, proceeds: int) -> Change:
    """Books what `amount` tokens have brought, of which `gone` have left a holding, with their cost as a loss.

    What the untracked ones bring, rounded up, is what they count to have cost.
    """
    earned = proceeds - -(-proceeds * gone.untracked // amount) if gone.untracked else proceeds
    holding.realized_pnl += earned
    return Change(earned - gone.cost, -gone.cost)


def find_untracked(holding: TokenHolding, amount: int) -> Change:
    """Books tokens that have come without a known cost. Those that are gone again have brought what counts as earned,
    which is taken back: 1 each, for no token brings more."""
    found = min(amount, holding.amount - holding.untracked_amount)
    holding.untracked_amount += found
    holding.realized_pnl -= amount - found
    return Change(found - amount, 0)


def go_away(holding: TokenHolding, gone: Gone) -> Change:
    """Books tokens that became something that the ledger does not follow: what they had cost is a loss till they come
    back."""
    holding.away_amount += gone.amount - gone.untracked
    holding.away_cost += gone.cost
    return Change(-gone.cost, -gone.cost)


def come_back(holding: TokenHolding, amount: int) -> Gone:
    """Of `amount` tokens that have come without a payment: the cost of those that were away, no loss any more, and how
    many others there are. Their cost is booked when it is paid (`pay`)."""
    back = min(amount, holding.away_amount)
    cost = holding.away_cost * back // holding.away_amount if back else 0
    holding.away_amount -= back
    holding.away_cost -= cost
    holding.realized_pnl += cost
    return Gone(amount, cost, amount - back)


def cover(holding: TokenHolding, proceeds: int) -> int:
    """What `proceeds` of sets that the ledger does not follow cover of the cost of the tokens that are away, which is
    no loss then; as large a part of them comes back no more, rounded up."""
    covered = min(proceeds, holding.away_cost)
    if covered:
        holding.away_amount -= -(-holding.away_amount * covered // holding.away_cost)
        holding.away_cost -= covered
        holding.realized_pnl += covered
    return covered


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
