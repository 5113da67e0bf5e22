"""PURE. What a buy or a sale would give now, and the call that makes it: from reserves alone, in exact arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from eth_hash.auto import keccak

from markets import amm

# FixedProductMarketMaker.sol. The arguments are the collateral paid or wanted, the outcome, and the limit in outcome
# tokens beyond which the trade must fail.
SELECTORS = {side: keccak(f"{side}(uint256,uint256,uint256)".encode())[:4] for side in ("buy", "sell")}


@dataclass(frozen=True, kw_only=True)
class Quote:
    """One trade as the contract would make it. Amounts in base units, prices in collateral per outcome token."""

    side: str
    outcome: int
    collateral: int
    """What the buyer pays, fee included; what the seller gets, after the fee."""
    tokens: int
    fee_amount: int
    slippage: Fraction
    limit: int
    """In outcome tokens, after slippage: the least that a buyer accepts, or the most that a seller gives."""
    price_before: Fraction
    price_after: Fraction

    @property
    def average_price(self) -> Fraction | None:
        """What an outcome token costs or brings, fee included. None where the investment is too small for one."""
        return Fraction(self.collateral, self.tokens) if self.tokens else None

    @property
    def price_impact(self) -> Fraction | None:
        """How much worse than the price before the average is, as a share of that price, the fee left out.

        A buy at twice the price before has an impact of 1. None where no token moves.
        """
        if not self.tokens:
            return None
        sign = 1 if self.side == "buy" else -1
        paid = Fraction(self.collateral - sign * self.fee_amount, self.tokens)
        return sign * (paid / self.price_before - 1)

    @property
    def calldata(self) -> str:
        """The AMM's `buy` or `sell` with this quote's limit, as a transaction's data."""
        words = (self.collateral, self.outcome, self.limit)
        return "0x" + (SELECTORS[self.side] + b"".join(word.to_bytes(32, "big") for word in words)).hex()


def quote_buy(reserves: Sequence[int], fee: int, investment: int, outcome: int, slippage: Fraction) -> Quote:
    """What `investment` of collateral buys. `slippage` from 0 to 1. Raises amm.Reverted."""
    tokens = amm.calc_buy_amount(reserves, fee, investment, outcome)
    fee_amount = amm.buy_fee(fee, investment)
    after = amm.after_trade(reserves, outcome, sets=investment - fee_amount, tokens=-tokens)
    return Quote(
        side="buy",
        outcome=outcome,
        collateral=investment,
        tokens=tokens,
        fee_amount=fee_amount,
        slippage=slippage,
        limit=ceil(tokens * (1 - slippage)),
        price_before=_price(reserves, outcome),
        price_after=_price(after, outcome),
    )


def quote_sell(reserves: Sequence[int], fee: int, returned: int, outcome: int, slippage: Fraction) -> Quote:
    """What must be given for `returned` of collateral. `slippage` from 0 to 1. Raises amm.Reverted."""
    tokens = amm.calc_sell_amount(reserves, fee, returned, outcome)
    fee_amount = amm.sell_fee(fee, returned)
    after = amm.after_trade(reserves, outcome, sets=-(returned + fee_amount), tokens=tokens)
    return Quote(
        side="sell",
        outcome=outcome,
        collateral=returned,
        tokens=tokens,
        fee_amount=fee_amount,
        slippage=slippage,
        limit=min(floor(tokens * (1 + slippage)), amm.MAX_UINT256),
        price_before=_price(reserves, outcome),
        price_after=_price(after, outcome),
    )


def _price(reserves: Sequence[int], outcome: int) -> Fraction:
    # The contract refuses a pool that lacks an outcome, and leaves none without it: there is a price.
    weights = amm.weights(reserves)
    return Fraction(weights[outcome], sum(weights))
