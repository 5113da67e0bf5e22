"""Pools: trades, liquidity, fees, and the prices that follow from an AMM's own balances."""

from collections.abc import Sequence

from markets import feeds, pnl
from markets.book import SHARES, ApplyError, Book, Key, LogPosition, Released
from markets.identity import event_row_id, row_id
from markets.projections.arrivals import find_what_is_left, pay_for
from markets.projections.lookups import (
    MAX_AMOUNT,
    ZERO_ADDRESS,
    amm_at,
    announced_amm,
    bounded,
    holding_of,
    is_claimed,
    known_market,
    position_of,
    remember,
    remember_transfer,
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
    book.change(market)
    market.volume += collateral_amount
    market.trading_fees += fee_amount
    market.trade_count += 1
    market.updated_at = at.timestamp
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
            market_volume=market.volume,
            **at.emitted(),
        )
    )
    _count_trader(book, market, trader, collateral_amount)
    change, untracked = _settle(book, at, trade)
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
        untracked_amounts=[untracked] if untracked else None,
        **change._asdict(),
    )
    book.publish(feeds.market_channel(market.market_id), lambda: feeds.trade(trade), at)
    record_price(book, at, amm)


def _settle(book: Book, at: LogPosition, trade: Trade) -> tuple[pnl.Change, int]:
    """Books what a trade's tokens cost, or brought: the tokens themselves have moved already. Also returns how many of
    those that were sold had no known cost."""
    key = (trade.trader, trade.market_id, trade.outcome)
    position = holding_of(book, at, trade.market_id, trade.outcome, trade.trader)
    if position.is_amm:
        return pnl.Change(0, 0), 0
    if trade.side == "buy":
        return pay_for(book, at, key, trade.amount, trade.collateral_amount), 0
    gone = book.scratch.take_released(key, trade.amm_address, trade.amount)
    return pnl.sell(book.change(position), gone, trade.amount, trade.collateral_amount), gone.untracked


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
    """The collateral pays for the shares, and for the outcome tokens that come back: those at the pool's prices."""
    amm = announced_amm(book, at)
    record_price(book, at, amm)
    # addFunding splits this much and sends back what the pool did not take: of one outcome, nothing.
    paid = max(amounts_added, default=0)
    returned = [paid - amount for amount in amounts_added]
    costs = _values(book, amm, returned, amm.reserves)
    change = _pay_for_tokens(book, at, amm, funder, returned, costs)
    shares = book.change(_shares_held(book, amm, funder))
    of_shares = pnl.pay(shares, paid - sum(costs))
    entry = remember(
        book,
        at,
        type="add_liquidity",
        user_address=funder,
        market_id=amm.market_id,
        amount=shares_minted,
        collateral_amount=paid,
        outcome_amounts=list(amounts_added),
        counterparty=amm.address,
        realized_pnl=change.realized_pnl + of_shares.realized_pnl,
        cost_change=change.cost_change + of_shares.cost_change,
    )
    book.scratch.funded[amm.address] = entry.id


def funding_removed(
    book: Book,
    at: LogPosition,
    funder: str,
    amounts_removed: tuple[int, ...],
    collateral_removed_from_fee_pool: int,
    shares_burnt: int,
) -> None:
    """The shares are sold for fees and outcome tokens, and the tokens bought for that: at the prices before."""
    amm = announced_amm(book, at)
    record_price(book, at, amm)
    before = [left + removed for left, removed in zip(amm.reserves or (), amounts_removed, strict=False)]
    costs = _values(book, amm, amounts_removed, before)
    change = _pay_for_tokens(book, at, amm, funder, amounts_removed, costs)
    proceeds = sum(costs) + collateral_removed_from_fee_pool
    cost = book.scratch.take_released((funder, amm.address, SHARES), ZERO_ADDRESS, shares_burnt).cost
    book.change(_shares_held(book, amm, funder)).realized_pnl += proceeds
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
        realized_pnl=change.realized_pnl + proceeds - cost,
        cost_change=change.cost_change - cost,
    )


def _values(book: Book, amm: Amm, amounts: Sequence[int], reserves: Sequence[int] | None) -> list[int]:
    """What outcome tokens that leave a pool with these reserves are worth, by outcome."""
    market = known_market(book, amm.market_id)
    return pnl.values(amounts[: len(market.outcomes)], pnl.price_weights(reserves, market.payouts))


def _pay_for_tokens(
    book: Book, at: LogPosition, amm: Amm, holder: str, amounts: Sequence[int], costs: Sequence[int]
) -> pnl.Change:
    """Books what the tokens cost that a pool has sent, by outcome."""
    return pnl.total(
        pay_for(book, at, (holder, amm.market_id, outcome), amount, cost)
        for outcome, (amount, cost) in enumerate(zip(amounts, costs, strict=False))
        if amount
    )


def shares_moved(book: Book, at: LogPosition, sender: str, receiver: str, value: int) -> None:
    """LP shares: the provider is whoever holds them, also where another contract funded the pool on their behalf."""
    amm = announced_amm(book, at)
    if not value:
        return
    book.change(amm)
    if sender == ZERO_ADDRESS:
        amm.total_shares += value
        _give_shares(book, amm, receiver, value, 0)
        return
    held = shares_of(book, amm, sender)
    if held is None or held.amount < value:
        raise ApplyError(f"{sender} sends {value} shares of {amm.address}, but holds {held.amount if held else 0}")
    cost, are_all = pnl.take_cost(book.change(held), value), held.amount == value
    held.amount -= value
    if receiver == ZERO_ADDRESS:
        amm.total_shares -= value
        held.realized_pnl -= cost
        book.scratch.release((sender, amm.address, SHARES), pnl.Gone(value, cost), receiver, at)
        return
    _give_shares(book, amm, receiver, value, cost)
    if not (are_all and _hand_over_funding(book, amm, sender, receiver, value, cost)):
        remember_transfer(book, at, sender, receiver, cost, market_id=amm.market_id, amount=value)


def _give_shares(book: Book, amm: Amm, receiver: str, value: int, cost: int) -> None:
    held = book.change(_shares_held(book, amm, receiver))
    held.amount = bounded(held.amount + value, MAX_AMOUNT, "shares of one holder")
    held.cost += cost


def _shares_held(book: Book, amm: Amm, holder: str) -> LiquidityShare:
    """The holder's shares, made if there is no row yet: funding can give none."""
    share_id = row_id("liquidity_share", amm.address, holder)
    return shares_of(book, amm, holder) or book.add(
        LiquidityShare(id=share_id, amm_id=amm.address, holder=holder, amount=0)
    )


def _hand_over_funding(book: Book, amm: Amm, sender: str, receiver: str, value: int, cost: int) -> bool:
    """deployAMM funds the pool itself and hands all the shares on: the liquidity is the receiver's.

    So it is where the sender had no other shares, and all that the funding paid was for these.
    """
    entry_id = book.scratch.funded.get(amm.address)
    entry = book.get(HistoryEntry, entry_id) if entry_id else None
    if entry is None or (entry.user_address, entry.amount) != (sender, value):
        return False
    if not entry.cost_change == entry.collateral_amount == cost:
        return False
    del book.scratch.funded[amm.address]
    book.change(entry).user_address = receiver
    return True


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


def transaction_ended(book: Book, transaction_hash: str) -> None:
    """Prices whatever moved an AMM's tokens without one of the AMM's own events.

    What an AMM held when it was announced, which is worked out before its block, waits for its own transaction.
    """
    for address, (at, part) in list(book.scratch.moved_amms.items()):
        amm = amm_at(book, address) if at.transaction_hash == transaction_hash else None
        if amm is not None:
            record_price(book, at, amm, part)
    for (key, receiver), released in book.scratch.released.items():
        _remember_gift(book, key, receiver, released)
    find_what_is_left(book)
    book.scratch.released.clear()
    book.scratch.arrivals.clear()
    book.scratch.passed.clear()
    book.scratch.funded.clear()


def _remember_gift(book: Book, key: Key, receiver: str, released: Released) -> None:
    """What a user gave to a pool, or burnt, and no event said why. What had no known cost has had one then: it adds to
    what the pool's shares are worth, by 1 each at most."""
    holder, place, outcome = key
    amm, gone = amm_at(book, place) if outcome == SHARES else None, released.gone
    lost = gone.untracked if receiver != ZERO_ADDRESS else 0
    position = position_of(book, place, outcome, holder) if lost else None
    if position is not None:
        book.change(position).realized_pnl -= lost
    remember(
        book,
        released.at,
        type="transfer_out",
        sequence=2 * released.sequence,
        user_address=holder,
        market_id=amm.market_id if amm else place,
        outcome=None if amm else outcome,
        amount=gone.amount,
        untracked_amounts=[gone.untracked] if gone.untracked else None,
        counterparty=receiver,
        realized_pnl=-gone.cost - lost,
        cost_change=-gone.cost,
    )


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
