"""What is worked out, and told, once for all the events of a batch: rows as they are behind its last block."""

from markets import feeds
from markets.amm import liquidity
from markets.book import Book, LogPosition
from markets.corrections import in_force
from markets.identity import row_id
from markets.rows import Channel, Market, Position


def batch_ended(book: Book, last: LogPosition) -> None:
    """`last` is the last event's place."""
    for market in book.changed(Market):
        market.liquidity = liquidity(market.reserves) if market.reserves else 0
    if book.publishes(last.block_number):
        _publish_states(book, last)


def _publish_states(book: Book, last: LogPosition) -> None:
    """A message for each market and position that has changed: however many events did it, subscribers get the end.

    A pool's own positions are its reserves, of which `market_update` tells.
    """
    markets = [(feeds.market_channel(row.market_id), row) for row in book.changed(Market)]
    positions = [(feeds.user_channel(row.user_address), row) for row in book.changed(Position) if not row.is_amm]
    book.load(Channel, [row_id("channel", channel) for channel, _ in (*markets, *positions)])
    shown = in_force([market for _, market in markets]) if markets else {}
    for channel, market in markets:
        message = feeds.market_update(market, "market", last.timestamp, shown.get(market.market_id, {}))
        book.publish_state(channel, message, last.block_number)
    for channel, position in positions:
        of = book.get(Market, row_id("market", position.market_id))
        message = feeds.position_update(position, of.payouts if of else None, last.timestamp)
        book.publish_state(channel, message, last.block_number)
