"""Pools: trades, liquidity, fees, and the prices that follow from an AMM's own balances."""

from markets import feeds
from markets.amm import liquidity
from markets.book import ApplyError, Book, LogPosition
from markets.identity import event_row_id, row_id
from markets.projections.lookups import (
    MAX_AMOUNT,
    ZERO_ADDRESS,
    amm_at,
    announced_amm,
    bounded,
    is_claimed,
    known_market,
    position_of,
    remember,
    shares_of,
)
from markets.rows import Amm, HistoryEntry, LiquidityShare, Market, MarketTrader, PricePoint, Trade


def bought(
    book: Book,
    at: LogPosition,
    buyer: str,
    investment_amount: int,
    fee_amount: int,
    outcome_index: int,
    outcome_tokens_bought: int,
) -> None:
    _trade(book, at, "buy", buyer, outcome_index, outcome_tokens_bought, investment_amount, fee_amount)


def sold(
    book: Book,
    at: LogPosition,
    seller: str,
    return_amount: int,
    fee_amount: int,
    outcome_index: int,
    outcome_tokens_sold: int,
) -> None:
    _trade(book, at, "sell", seller, outcome_index, outcome_tokens_sold, return_amount, fee_amount)


def _trade(
    book: Book,
    at: LogPosition,
    side: str,
    trader: str,
    outcome: int,
    amount: int,
    collateral_amount: int,
    fee_amount: int,
) -> None:
    amm = announced_amm(book, at)
    market = known_market(book, amm.market_id)
    bounded(outcome + 1, len(market.outcomes), "outcomes")
    trade = book.append(
        Trade(
            id=event_row_id("trade", at.block_number, at.log_index, at.transaction_hash),
            market_id=market.market_id,
            amm_address=amm.address,
            trader=trader,
            side=side,
            outcome=outcome,
            amount=amount,
            collateral_amount=collateral_amount,
            fee_amount=fee_amount,
            **at.emitted(),
        )
    )
    book.change(market)
    market.volume += collateral_amount
    market.trading_fees += fee_amount
    market.trade_count += 1
    market.updated_at = at.timestamp
    _count_trader(book, market, trader, collateral_amount)
    remember(
        book,
        at,
        type=side,
        user_address=trader,
        market_id=market.market_id,
        outcome=outcome,
        amount=amount,
        collateral_amount=collateral_amount,
        counterparty=amm.address,
    )
    book.publish(feeds.market_channel(market.market_id), lambda: feeds.trade(trade), at)
    record_price(book, at, amm)


def _count_trader(book: Book, market: Market, trader: str, collateral_amount: int) -> None:
    trader_id = row_id("market_trader", market.market_id, trader)
    row = book.get(MarketTrader, trader_id)
    if row is None:
        row = book.add(MarketTrader(id=trader_id, market_id=market.market_id, address=trader))
        market.trader_count += 1
    book.change(row)
    row.trade_count += 1
    row.volume += collateral_amount


def funding_added(book: Book, at: LogPosition, funder: str, amounts_added: tuple[int, ...], shares_minted: int) -> None:
    amm = announced_amm(book, at)
    entry = remember(
        book,
        at,
        type="add_liquidity",
        user_address=funder,
        market_id=amm.market_id,
        amount=shares_minted,
        # addFunding splits this much and sends back what the pool did not take: of one outcome, nothing.
        collateral_amount=max(amounts_added, default=0),
        outcome_amounts=list(amounts_added),
        counterparty=amm.address,
    )
    book.scratch.funded[amm.address] = entry.id
    record_price(book, at, amm)


def funding_removed(
    book: Book,
    at: LogPosition,
    funder: str,
    amounts_removed: tuple[int, ...],
    collateral_removed_from_fee_pool: int,
    shares_burnt: int,
) -> None:
    amm = announced_amm(book, at)
    remember(
        book,
        at,
        type="remove_liquidity",
        user_address=funder,
        market_id=amm.market_id,
        amount=shares_burnt,
        collateral_amount=collateral_removed_from_fee_pool,
        outcome_amounts=list(amounts_removed),
        counterparty=amm.address,
    )
    record_price(book, at, amm)


def shares_moved(book: Book, at: LogPosition, sender: str, receiver: str, value: int) -> None:
    """LP shares: the provider is whoever holds them, also where another contract funded the pool on their behalf."""
    amm = announced_amm(book, at)
    if not value:
        return
    book.change(amm)
    if sender == ZERO_ADDRESS:
        amm.total_shares += value
    else:
        held = shares_of(book, amm, sender)
        if held is None or held.amount < value:
            raise ApplyError(f"{sender} sends {value} shares of {amm.address}, but holds {held.amount if held else 0}")
        book.change(held).amount -= value
    if receiver == ZERO_ADDRESS:
        amm.total_shares -= value
        return
    held = shares_of(book, amm, receiver)
    if held is None:
        share_id = row_id("liquidity_share", amm.address, receiver)
        held = book.add(LiquidityShare(id=share_id, amm_id=amm.address, holder=receiver, amount=0))
    book.change(held).amount = bounded(held.amount + value, MAX_AMOUNT, "shares of one holder")
    _hand_over_funding(book, amm, sender, receiver, value)


def _hand_over_funding(book: Book, amm: Amm, sender: str, receiver: str, value: int) -> None:
    """deployAMM funds the pool itself and hands all the shares on: the liquidity is the receiver's."""
    entry_id = book.scratch.funded.get(amm.address)
    entry = book.get(HistoryEntry, entry_id) if entry_id else None
    if entry is not None and (entry.user_address, entry.amount) == (sender, value):
        del book.scratch.funded[amm.address]
        book.change(entry).user_address = receiver


def fee_collected(book: Book, at: LogPosition, token: str, market_id: str, payer: str, amount: int) -> None:
    market = book.get(Market, row_id("market", market_id))
    if market is None:
        book.waits.add(f"market:{market_id}")
        return
    # Fees in another token can't be added to one figure.
    if token == market.collateral_token and is_claimed(book, f"market:{market_id}"):
        book.change(market)
        market.fees_collected += amount
        market.updated_at = max(market.updated_at, at.timestamp)


# --- prices -----------------------------------------------------------------------------------------------------------


def transaction_ended(book: Book) -> None:
    """Prices whatever moved an AMM's tokens without one of the AMM's own events."""
    if book.scratch.moved_amms:
        for address, (at, part) in list(book.scratch.moved_amms.items()):
            amm = amm_at(book, address)
            if amm is not None:
                record_price(book, at, amm, part)
    book.scratch.unexplained.clear()
    book.scratch.funded.clear()


def batch_ended(book: Book) -> None:
    """Works out what is only asked for as it is at the end."""
    for market in book.changed(Market):
        market.liquidity = liquidity(market.reserves) if market.reserves else 0


def record_price(book: Book, at: LogPosition, amm: Amm, part: int = 0) -> None:
    """Writes the reserves of the market's AMM, if they changed, as they are now: its balances, outcome by outcome.

    `part` is the AMM's in a log that moves tokens of two.
    """
    book.scratch.moved_amms.pop(amm.address, None)
    market = known_market(book, amm.market_id)
    held = [position_of(book, market.market_id, outcome, amm.address) for outcome in range(len(market.outcomes))]
    reserves = [position.amount if position else 0 for position in held]
    if reserves == amm.reserves:
        return
    book.change(amm).reserves = reserves
    if market.amm_address != amm.address:
        return
    book.change(market)
    market.reserves = reserves
    market.updated_at = at.timestamp
    book.append(
        PricePoint(
            id=event_row_id("price_point", at.block_number, at.log_index, at.transaction_hash, part),
            market_id=market.market_id,
            reserves=reserves,
            **at.emitted(),
        )
    )
    channel = feeds.prices_channel(market.market_id)
    book.publish(channel, lambda: feeds.price_update(market.market_id, reserves, at.timestamp), at)
