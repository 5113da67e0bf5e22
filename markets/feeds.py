"""WebSocket channels and the messages on them. The seed's names and fields are fixed; amounts are decimal strings.

Each message holds what the frame that subscribes to its channel holds: `channel`, and `marketId` or `address`. The Book
adds to all of them `seq`, `blockNumber` and `finality`, and to those of one event `transactionHash` and `logIndex`.
`timestamp` is the block's, in Unix seconds. A state that is what it is because blocks were replaced has `corrected`.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from markets.amm import weights
from markets.rows import Market as MarketRow
from markets.rows import Position as PositionRow
from markets.rows import Trade as TradeRow

MARKETS_CHANNEL = "markets"  # that markets are created and resolved
LONGEST_TEXT = 1_000  # characters of what somebody wrote into a contract; REST has all of it


def market_channel(market_id: str) -> str:
    """Trades and state of one market."""
    return f"market:{market_id}"


def prices_channel(market_id: str) -> str:
    """Prices of one market."""
    return f"prices:{market_id}"


def user_channel(address: str) -> str:
    """Positions of one address."""
    return f"user:{address}"


def wire_price(price: Fraction) -> float:
    """An exact price as the nearest JSON number: rounded once, here."""
    return float(price)


def wire_prices(reserves: Sequence[int] | None) -> list[float] | None:
    """Each outcome's price as JSON numbers; None without liquidity."""
    each = weights(reserves) if reserves else []
    total = sum(each)
    # As `prices` does it, without bringing fractions to their lowest terms: Python rounds a quotient of ints once.
    return [weight / total for weight in each] if total else None


def price_update(market_id: str, reserves: Sequence[int] | None, timestamp: int) -> dict[str, Any]:
    """The seed's `price_update`; `reserves` are None where the market has no AMM any more."""
    return {
        "type": "price_update",
        "channel": "prices",
        "marketId": market_id,
        "prices": wire_prices(reserves),
        "reserves": _texts(reserves),
        "timestamp": timestamp,
    }


def trade(row: TradeRow) -> dict[str, Any]:
    """The seed's `trade`; `amount` in outcome tokens, `price` in collateral per outcome token."""
    return {
        "type": "trade",
        "channel": "market",
        "id": row.id,
        "marketId": row.market_id,
        "trader": row.trader,
        "side": row.side,
        "outcome": row.outcome,
        "amount": str(row.amount),
        "collateralAmount": str(row.collateral_amount),
        "feeAmount": str(row.fee_amount),
        "price": trade_price(row.collateral_amount, row.amount),
        "timestamp": row.timestamp,
    }


def trade_reverted(row: TradeRow) -> dict[str, Any]:
    """A reorganisation took the trade with this `id` off the chain.

    The transaction may be mined again, in another block: then a `trade` with another `id` follows.
    """
    return {
        "type": "trade_reverted",
        "channel": "market",
        "id": row.id,
        "marketId": row.market_id,
        "timestamp": row.timestamp,
    }


def market_created(row: MarketRow) -> dict[str, Any]:
    """A new market. Texts are cut at LONGEST_TEXT characters."""
    return {
        "type": "market_created",
        "channel": MARKETS_CHANNEL,
        "marketId": row.market_id,
        "questionId": row.question_id,
        "conditionId": row.condition_id,
        "creator": row.creator,
        "collateralToken": row.collateral_token,
        "question": row.question[:LONGEST_TEXT],
        "outcomes": [outcome[:LONGEST_TEXT] for outcome in row.outcomes],
        "resolutionTimestamp": str(row.resolution_timestamp),
        "timestamp": row.created_at,
    }


def market_resolved(row: MarketRow, channel: str, timestamp: int) -> dict[str, Any]:
    """A market's payouts are fixed: numerators, an outcome pays its share of their sum. Also to MARKETS_CHANNEL."""
    return {
        "type": "market_resolved",
        "channel": channel,
        "marketId": row.market_id,
        "payouts": _texts(row.payouts),
        "timestamp": timestamp,
    }


def market_update(row: MarketRow, channel: str, timestamp: int, shown: Mapping[str, Any]) -> dict[str, Any]:
    """What changes of a market, as it is at the end of a block. To MARKETS_CHANNEL only where blocks were replaced.

    `shown` are its corrections (corrections.in_force): the message has the values that it has a field for, and names
    all in `correctedFields`, which is left out where there are none.
    """
    payouts = shown["payouts"] if "payouts" in shown else _texts(row.payouts)
    return {
        "type": "market_update",
        "channel": channel,
        "marketId": row.market_id,
        "ammAddress": row.amm_address,
        "fee": None if row.fee is None else str(row.fee),
        "prices": wire_prices(row.reserves),
        "reserves": _texts(row.reserves),
        "liquidity": str(row.liquidity),
        "volume": str(row.volume),
        "tradingFees": str(row.trading_fees),
        "feesCollected": str(row.fees_collected),
        "tradeCount": row.trade_count,
        "traders": row.trader_count,
        "resolved": payouts is not None if "payouts" in shown else row.resolved,
        "payouts": payouts,
        **({"correctedFields": sorted(shown)} if shown else {}),
        "timestamp": timestamp,
    }


def market_reverted(market_id: str, channel: str, timestamp: int) -> dict[str, Any]:
    """A reorganisation took the market off the chain. It may be created again: then `market_created` follows."""
    return {"type": "market_reverted", "channel": channel, "marketId": market_id, "timestamp": timestamp}


def position_update(row: PositionRow, payouts: Sequence[int] | None, timestamp: int) -> dict[str, Any]:
    """What an address holds of one outcome, as it is at the end of a block. `payouts` are the market's, if resolved.

    As in REST, what a loser has cost is realised by the resolution, which itself is no message of each holder's.
    """
    lost = row.cost if payouts is not None and not payouts[row.outcome_index] else 0
    return {
        "type": "position_update",
        "channel": "user",
        "id": row.id,
        "address": row.user_address,
        "marketId": row.market_id,
        "outcomeIndex": row.outcome_index,
        "amount": str(row.amount),
        "cost": str(row.cost - lost),
        "realizedPnl": str(row.realized_pnl - lost),
        "untrackedAmount": str(row.untracked_amount),
        "status": "open" if row.amount else "closed",
        "timestamp": timestamp,
    }


def trade_price(collateral_amount: int, amount: int) -> float | None:
    """Collateral per outcome token; None where no outcome token moved."""
    return collateral_amount / amount if amount else None


def _texts(numbers: Sequence[int] | None) -> list[str] | None:
    return None if numbers is None else [str(number) for number in numbers]
