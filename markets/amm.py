"""PURE. What follows from a pool's reserves: prices and liquidity, in exact arithmetic.

Source: FixedProductMarketMaker.sol of @gnosis.pm/conditional-tokens-market-makers 1.8.1. Reserves are the AMM's own
outcome-token balances in base units.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from math import prod
from operator import mul


def weights(reserves: Sequence[int]) -> list[int]:
    """An outcome's weight: the product of the other outcomes' reserves. Its price is its share of all weights."""
    before = accumulate(reserves[:-1], mul, initial=1)
    behind = accumulate(reversed(reserves[1:]), mul, initial=1)
    return [left * right for left, right in zip(before, reversed(list(behind)), strict=True)]


def prices(reserves: Sequence[int]) -> tuple[Fraction, ...] | None:
    """The price of each outcome, collateral per outcome token; they sum to exactly 1. None without liquidity.

    A reserve of zero beside others that are not makes its outcome cost everything.
    """
    each = weights(reserves) if reserves else []
    total = sum(each)
    return tuple(Fraction(weight, total) for weight in each) if total else None


def liquidity(reserves: Sequence[int]) -> int:
    """What the pool's outcome tokens are worth at its own prices, in collateral base units, rounded down.

    Each reserve times its outcome's weight is the product of all reserves.
    """
    total = sum(weights(reserves)) if reserves else 0
    return len(reserves) * prod(reserves) // total if total else 0


def payout_fractions(payout_numerators: Sequence[int]) -> tuple[Fraction, ...]:
    """What one token of each outcome redeems for (ConditionalTokens.sol, redeemPositions). The sum must not be 0."""
    denominator = sum(payout_numerators)
    return tuple(Fraction(numerator, denominator) for numerator in payout_numerators)
