"""PURE. What follows from a pool's reserves: prices, liquidity, and what a trade gives, in exact arithmetic.

Source: FixedProductMarketMaker.sol of @gnosis.pm/conditional-tokens-market-makers 1.8.1. Reserves are the AMM's own
outcome-token balances in base units; a fee is a fraction of 1e18.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import accumulate
from math import prod
from operator import mul

ONE = 10**18
MAX_UINT256 = 2**256 - 1


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


# --- trades -----------------------------------------------------------------------------------------------------------


class Reverted(Exception):
    """The contract would revert; the text is its own reason."""


def calc_buy_amount(reserves: Sequence[int], fee: int, investment: int, outcome: int) -> int:
    """Outcome tokens that `investment` of collateral, fee included, buys (calcBuyAmount). Raises Reverted.

    The investment less the fee becomes a complete set; of the outcome the pool keeps as much as holds the product of
    its reserves, rounded up at each step as the contract does.
    """
    _check_outcome(reserves, outcome)
    added = _sub(investment, buy_fee(fee, investment))
    ending = _ending_balance(reserves, outcome, lambda reserve: _add(reserve, added))
    return _sub(_add(reserves[outcome], added), _ceildiv(ending, ONE))


def calc_sell_amount(reserves: Sequence[int], fee: int, returned: int, outcome: int) -> int:
    """Outcome tokens that the pool takes for `returned` collateral, paid after the fee (calcSellAmount).

    Raises Reverted, above all where the pool's other outcomes cannot make that many complete sets.
    """
    _check_outcome(reserves, outcome)
    merged = returned + sell_fee(fee, returned)
    ending = _ending_balance(reserves, outcome, lambda reserve: _sub(reserve, merged))
    return _sub(_add(merged, _ceildiv(ending, ONE)), reserves[outcome])


def buy_fee(fee: int, investment: int) -> int:
    """The part of a buy's investment that the pool keeps as its fee. Raises Reverted."""
    return _mul(investment, fee) // ONE


def sell_fee(fee: int, returned: int) -> int:
    """What a sale takes out of the pool as its fee, besides what it pays. Raises Reverted."""
    kept = _sub(ONE, fee)  # first: the contract evaluates a divisor before what it divides
    return _div(_mul(returned, ONE), kept) - returned


def returned_for(reserves: Sequence[int], fee: int, tokens: int, outcome: int) -> int:
    """The most collateral that the pool pays for at most `tokens` of an outcome: calc_sell_amount inverted, exactly.

    calc_sell_amount never falls as its argument rises, and reverts from some argument on, so a bisection finds it.
    Raises Reverted where the pool does not even pay 0.
    """
    calc_sell_amount(reserves, fee, 0, outcome)

    def is_paid(returned: int) -> bool:
        try:
            return calc_sell_amount(reserves, fee, returned, outcome) <= tokens
        except Reverted:
            return False

    paid, refused = 0, min(reserves) + tokens + 1
    while refused - paid > 1:
        middle = (paid + refused) // 2
        paid, refused = (middle, refused) if is_paid(middle) else (paid, middle)
    return paid


def after_trade(reserves: Sequence[int], outcome: int, *, sets: int, tokens: int) -> list[int]:
    """The pool's reserves once it made `sets` complete sets (or merged them: negative) and took in `tokens`."""
    return [reserve + sets + (tokens if index == outcome else 0) for index, reserve in enumerate(reserves)]


def _check_outcome(reserves: Sequence[int], outcome: int) -> None:
    if not 0 <= outcome < len(reserves):
        raise Reverted("invalid outcome index")


def _ending_balance(reserves: Sequence[int], outcome: int, moved: Callable[[int], int]) -> int:
    """What the pool keeps of the outcome, times 1e18, when its other reserves are `moved`."""
    ending = _mul(reserves[outcome], ONE)
    for index, reserve in enumerate(reserves):
        if index != outcome:
            divisor = moved(reserve)  # first, as above
            ending = _ceildiv(_mul(ending, reserve), divisor)
    if not ending:
        raise Reverted("must have non-zero balances")
    return ending


def _add(left: int, right: int) -> int:
    if left + right > MAX_UINT256:
        raise Reverted("SafeMath: addition overflow")
    return left + right


def _sub(left: int, right: int) -> int:
    if right > left:
        raise Reverted("SafeMath: subtraction overflow")
    return left - right


def _mul(left: int, right: int) -> int:
    if left * right > MAX_UINT256:
        raise Reverted("SafeMath: multiplication overflow")
    return left * right


def _div(left: int, right: int) -> int:
    if not right:
        raise Reverted("division by zero")  # Solidity's own, an invalid opcode without a reason
    return left // right


def _ceildiv(left: int, right: int) -> int:
    return -_div(-left, right)
