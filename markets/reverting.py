"""What subscribers are told when blocks are replaced: trades that did not happen, prices that are what they were."""

from dataclasses import dataclass
from functools import partial

from markets import feeds
from markets.book import Book, LogPosition
from markets.identity import row_id
from markets.rows import Market, PricePoint, Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """Rows of the replaced blocks, read before they go."""

    trades: list[Trade]
    repriced_markets: list[tuple[str, LogPosition]]


def reverted_by(fork_block: int) -> Reverted:
    """What stands above `fork_block`."""
    above = "block_number > %s ORDER BY block_number, log_index"
    latest = {point.market_id: _position(point, "") for point in PricePoint.table.load(above, fork_block)}
    return Reverted(trades=Trade.table.load(above, fork_block), repriced_markets=sorted(latest.items()))


def announce_reverted(book: Book, reverted: Reverted, *, published_block: int) -> None:
    """Publishes what takes back messages that are out. Call after the rows were restored."""
    for trade in reverted.trades:
        if trade.block_number <= published_block:
            channel = feeds.market_channel(trade.market_id)
            book.publish(channel, partial(feeds.trade_reverted, trade), _position(trade, trade.amm_address))
    for market_id, at in reverted.repriced_markets:
        market = book.get(Market, row_id("market", market_id))
        if at.block_number <= published_block and market is not None and market.reserves:
            message = partial(feeds.price_update, market_id, market.reserves, at.timestamp)
            book.publish(feeds.prices_channel(market_id), message, at)


def _position(row: Trade | PricePoint, address: str) -> LogPosition:
    return LogPosition(
        block_number=row.block_number,
        block_hash=row.block_hash,
        timestamp=row.timestamp,
        transaction_hash=row.transaction_hash,
        log_index=row.log_index,
        address=address,
    )
