"""WebSocket channels and the messages on them. The seed's names and fields are fixed; amounts are decimal strings."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from markets.amm import prices


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
    exact = prices(reserves) if reserves else None
    return [wire_price(price) for price in exact] if exact else None


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


def trade(
    *,
    trade_id: str,
    market_id: str,
    trader: str,
    side: str,
    outcome: int,
    amount: int,
    collateral_amount: int,
    fee_amount: int,
    timestamp: int,
) -> dict[str, Any]:
    """The seed's `trade`; `amount` in outcome tokens, `price` in collateral per outcome token."""
    return {
        "type": "trade",
        "channel": "market",
        "id": trade_id,
        "marketId": market_id,
        "trader": trader,
        "side": side,
        "outcome": outcome,
        "amount": str(amount),
        "collateralAmount": str(collateral_amount),
        "feeAmount": str(fee_amount),
        "price": trade_price(collateral_amount, amount),
        "timestamp": timestamp,
    }


def trade_reverted(trade_id: str, market_id: str, timestamp: int) -> dict[str, Any]:
    """A reorganisation took the trade with this `id` off the chain; it may come again, in another block."""
    return {
        "type": "trade_reverted",
        "channel": "market",
        "id": trade_id,
        "marketId": market_id,
        "timestamp": timestamp,
    }


def trade_price(collateral_amount: int, amount: int) -> float | None:
    """Collateral per outcome token; None where no outcome token moved."""
    return wire_price(Fraction(collateral_amount, amount)) if amount else None
