"""What subscribers are told when blocks are replaced: trades that did not happen, prices that are what they were."""

from dataclasses import dataclass

from markets import feeds
from markets.book import Book, LogPosition
from markets.chaintime import to_seconds
from markets.identity import row_id
from markets.models import Market, PricePoint, Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """Rows of the replaced blocks, read before they go."""

    trades: list[Trade]
    repriced_markets: list[tuple[str, LogPosition]]


def reverted_by(fork_block: int) -> Reverted:
    """What stands above `fork_block`."""
    trades = Trade.objects.filter(block_number__gt=fork_block).order_by("block_number", "log_index")
    points = PricePoint.objects.filter(block_number__gt=fork_block).order_by("block_number", "log_index")
    latest = {point.market_id: _position(point, "") for point in points}
    return Reverted(trades=list(trades), repriced_markets=sorted(latest.items()))


def announce_reverted(book: Book, reverted: Reverted, *, published_block: int) -> None:
    """Publishes what takes back messages that are out. Call after the rows were restored."""
    for trade in reverted.trades:
        if trade.block_number <= published_block:
            message = feeds.trade_reverted(str(trade.id), trade.market_id, to_seconds(trade.timestamp))
            book.publish(feeds.market_channel(trade.market_id), message, _position(trade, trade.amm_address))
    for market_id, at in reverted.repriced_markets:
        market = book.get(Market, row_id("market", market_id))
        if at.block_number <= published_block and market is not None and market.reserves:
            message = feeds.price_update(market_id, market.reserves, at.timestamp)
            book.publish(feeds.prices_channel(market_id), message, at)


def _position(row: Trade | PricePoint, address: str) -> LogPosition:
    return LogPosition(
        block_number=row.block_number,
        block_hash=row.block_hash,
        timestamp=to_seconds(row.timestamp),
        transaction_hash=row.transaction_hash,
        log_index=row.log_index,
        address=address,
    )
