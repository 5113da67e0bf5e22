"""PURE. What follows from a pool's reserves: prices and liquidity, in exact arithmetic.

Source: FixedProductMarketMaker.sol of @gnosis.pm/conditional-tokens-market-makers 1.8.1. Reserves are the AMM's own
outcome-token balances in base units.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import prod


def prices(reserves: Sequence[int]) -> tuple[Fraction, ...] | None:
    """The price of each outcome, collateral per outcome token; they sum to exactly 1. None without liquidity.

    In words: an outcome's weight is the product of the other outcomes' reserves; its price is its share of all weights.
    A reserve of zero beside others that are not makes its outcome cost everything.
    """
    weights = [prod(reserves[:index]) * prod(reserves[index + 1 :]) for index in range(len(reserves))]
    total = sum(weights)
    return tuple(Fraction(weight, total) for weight in weights) if total else None


def liquidity(reserves: Sequence[int]) -> int:
    """What the pool's outcome tokens are worth at its own prices, in collateral base units, rounded down."""
    current = prices(reserves)
    return int(sum(reserve * price for reserve, price in zip(reserves, current, strict=True))) if current else 0


def payout_fractions(payout_numerators: Sequence[int]) -> tuple[Fraction, ...]:
    """What one token of each outcome redeems for (ConditionalTokens.sol, redeemPositions). The sum must not be 0."""
    denominator = sum(payout_numerators)
    return tuple(Fraction(numerator, denominator) for numerator in payout_numerators)
