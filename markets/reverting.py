"""What subscribers are told when blocks are replaced: trades that did not happen, states that are what they were."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markets import feeds
from markets.book import Book, LogPosition
from markets.corrections import in_force
from markets.identity import row_id
from markets.rows import Channel, Market, Position, PricePoint, Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """Rows that the replaced blocks made or changed, read before they go."""

    trades: list[Trade]
    repriced_markets: list[str]
    markets: list[Market]
    positions: list[Position]


def reverted_by(fork_block: int, markets: Sequence[str], positions: Sequence[str]) -> Reverted:
    """What stands above `fork_block`; `markets` and `positions` are the ids of the rows that changed there."""
    above = "block_number > %s ORDER BY block_number, log_index"
    return Reverted(
        trades=Trade.table.load(above, fork_block),
        repriced_markets=sorted({point.market_id for point in PricePoint.table.load(above, fork_block)}),
        markets=_in_order(Market, markets),
        positions=_in_order(Position, positions),
    )


def _in_order(kind: Any, ids: Sequence[str]) -> list[Any]:
    rows = kind.table.by_id(ids) if ids else {}
    return [rows[key] for key in sorted(rows)]


def announce_reverted(book: Book, reverted: Reverted, fork: LogPosition, *, published_block: int) -> None:
    """Publishes what takes back messages that are out: states are those at the end of the block `fork`.

    Call after the rows were restored.
    """
    for trade in reverted.trades:
        if trade.block_number <= published_block:
            channel = feeds.market_channel(trade.market_id)
            book.publish(channel, partial(feeds.trade_reverted, trade), _position(trade))
    if fork.block_number >= published_block:
        return
    book.load(Market, [market.id for market in reverted.markets])
    book.load(Position, [position.id for position in reverted.positions])
    channels = [feeds.user_channel(position.user_address) for position in reverted.positions]
    book.load(Channel, [row_id("channel", channel) for channel in channels])
    for market_id in reverted.repriced_markets:
        row = book.get(Market, row_id("market", market_id))
        message = feeds.price_update(market_id, row.reserves if row else None, fork.timestamp)
        _correct(book, feeds.prices_channel(market_id), message, fork)
    for market in reverted.markets:
        _announce_market(book, market, fork)
    for position in reverted.positions:
        _announce_position(book, position, fork)


def _announce_market(book: Book, before: Market, fork: LogPosition) -> None:
    """To its own subscribers in any case; to those of all markets what they were told of it."""
    now = book.get(Market, before.id)
    channels = [(feeds.market_channel(before.market_id), "market")]
    if now is None or now.resolved != before.resolved:
        channels.append((feeds.MARKETS_CHANNEL, feeds.MARKETS_CHANNEL))
    for channel, name in channels:
        if now is None:
            message = feeds.market_reverted(before.market_id, name, fork.timestamp)
            book.publish_state(channel, message, fork.block_number)
        else:
            shown = in_force([now]).get(now.market_id, {})
            _correct(book, channel, feeds.market_update(now, name, fork.timestamp, shown), fork)


def _announce_position(book: Book, before: Position, fork: LogPosition) -> None:
    now = book.get(Position, before.id)
    if now is None:
        nothing = {"amount": 0, "cost": 0, "realized_pnl": 0, "untracked_amount": 0}
        now = before.__copy__()  # type: ignore[attr-defined]  # what copy.copy calls
        for name, value in nothing.items():
            setattr(now, name, value)
    if now.is_amm:
        return
    market = book.get(Market, row_id("market", now.market_id))
    message = feeds.position_update(now, market.payouts if market else None, fork.timestamp)
    _correct(book, feeds.user_channel(now.user_address), message, fork)


def _correct(book: Book, channel: str, message: dict[str, Any], fork: LogPosition) -> None:
    book.publish_state(channel, message | {"corrected": True}, fork.block_number)


def _position(row: Trade) -> LogPosition:
    return LogPosition(
        block_number=row.block_number,
        block_hash=row.block_hash,
        timestamp=row.timestamp,
        transaction_hash=row.transaction_hash,
        log_index=row.log_index,
        address=row.amm_address,
    )
