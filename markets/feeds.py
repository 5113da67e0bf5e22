"""WebSocket channels and the messages on them. The seed's names and fields are fixed; amounts are decimal strings."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from markets.amm import weights
from markets.rows import Trade as TradeRow


def market_channel(market_id: str) -> str:
    """Trades of one market."""
    return f"market:{market_id}"


def prices_channel(market_id: str) -> str:
    """Prices of one market."""
    return f"prices:{market_id}"


def wire_price(price: Fraction) -> float:
    """An exact price as the nearest JSON number: rounded once, here."""
    return float(price)


def wire_prices(reserves: Sequence[int] | None) -> list[float] | None:
    """Each outcome's price as JSON numbers; None without liquidity."""
    each = weights(reserves) if reserves else []
    total = sum(each)
    # As `prices` does it, without bringing fractions to their lowest terms: Python rounds a quotient of ints once.
    return [weight / total for weight in each] if total else None


def price_update(market_id: str, reserves: Sequence[int], timestamp: int) -> dict[str, Any]:
    """The seed's `price_update`; `timestamp` in Unix seconds."""
    return {
        "type": "price_update",
        "channel": "prices",
        "marketId": market_id,
        "prices": wire_prices(reserves),
        "reserves": [str(reserve) for reserve in reserves],
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


def trade_price(collateral_amount: int, amount: int) -> float | None:
    """Collateral per outcome token; None where no outcome token moved."""
    return collateral_amount / amount if amount else None
