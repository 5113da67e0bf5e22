"""Events -> market rows. Each function is one event's effect; its keyword arguments are the event's fields.

Balances come from token transfers and from nothing else; the other events say why tokens moved.
"""

from collections.abc import Sequence

from markets import feeds
from markets.amm import liquidity
from markets.book import ApplyError, Book, LogPosition
from markets.chaintime import from_seconds
from markets.ctf import is_full_partition
from markets.identity import row_id
from markets.models import (
    Amm,
    Channel,
    Condition,
    HistoryEntry,
    LiquidityShare,
    Market,
    MarketTrader,
    OutcomeToken,
    Position,
    PricePoint,
    Trade,
)

ZERO_ADDRESS = "0x" + "00" * 20
ZERO_BYTES32 = "0x" + "00" * 32
MAX_OUTCOMES = 256  # ConditionalTokens.sol, prepareCondition
MAX_AMOUNT = 2**256 - 1

# Tables in the order in which they may be written: referred ones first.
WRITE_ORDER = (
    Condition,
    Market,
    OutcomeToken,
    Amm,
    LiquidityShare,
    Position,
    Trade,
    PricePoint,
    MarketTrader,
    HistoryEntry,
    Channel,
)


# --- conditions and markets -------------------------------------------------------------------------------------------


def condition_prepared(
    book: Book, at: LogPosition, *, condition_id: str, oracle: str, question_id: str, outcome_slot_count: int
) -> None:
    _add_condition(book, condition_id, oracle, question_id, outcome_slot_count)


def _add_condition(book: Book, condition_id: str, oracle: str, question_id: str, outcome_slot_count: int) -> Condition:
    return book.add(
        Condition(
            id=row_id("condition", condition_id),
            condition_id=condition_id,
            oracle=oracle,
            question_id=question_id,
            outcome_slot_count=_bounded(outcome_slot_count, MAX_OUTCOMES, "outcome slots"),
        )
    )


def condition_resolved(
    book: Book,
    at: LogPosition,
    *,
    condition_id: str,
    oracle: str,
    question_id: str,
    outcome_slot_count: int,
    payout_numerators: tuple[int, ...],
) -> None:
    """Fixes the payout vector: from here on the condition's market is resolved."""
    if not sum(payout_numerators):
        raise ApplyError("the payouts are all zero")
    condition = book.get(Condition, row_id("condition", condition_id))
    if condition is None:
        # Prepared before the first indexed block.
        condition = _add_condition(book, condition_id, oracle, question_id, outcome_slot_count)
    if condition.payout_numerators is not None:
        raise ApplyError(f"condition {condition_id} is resolved already")
    if len(payout_numerators) != condition.outcome_slot_count:
        raise ApplyError(f"{len(payout_numerators)} payouts for {condition.outcome_slot_count} outcomes")
    book.change(condition)
    condition.payout_numerators = list(payout_numerators)
    condition.resolved_at = at.time
    for market in book.markets_of_condition(condition_id):
        _resolve(book, market, condition)


def market_created(
    book: Book,
    at: LogPosition,
    *,
    market_id: str,
    question_id: str,
    condition_id: str,
    creator: str,
    collateral_token: str,
    question: str,
    outcomes: tuple[str, ...],
    resolution_time: int,
) -> None:
    outcome_count = _bounded(len(outcomes), MAX_OUTCOMES, "outcomes")
    condition = book.get(Condition, row_id("condition", condition_id))
    if condition is not None and condition.outcome_slot_count != outcome_count:
        raise ApplyError(f"{outcome_count} outcomes on a condition of {condition.outcome_slot_count} slots")
    market = Market(
        id=row_id("market", market_id),
        market_id=market_id,
        question_id=question_id,
        condition_id=condition_id,
        creator=creator,
        collateral_token=collateral_token,
        question=question,
        outcomes=list(outcomes),
        resolution_time=from_seconds(resolution_time),
        resolution_timestamp=resolution_time,
        block_number=at.block_number,
        block_hash=at.block_hash,
        transaction_hash=at.transaction_hash,
        log_index=at.log_index,
        created_at=at.time,
        updated_at=at.time,
    )
    book.add(market)
    book.index_market(market)
    position_ids = book.position_ids(collateral_token, condition_id, outcome_count)
    for outcome, position_id in enumerate(position_ids):
        book.add(
            OutcomeToken(
                id=row_id("outcome_token", position_id),
                position_id=position_id,
                market_id=market_id,
                outcome_index=outcome,
            )
        )
    if condition is not None and condition.payout_numerators is not None:
        _resolve(book, market, condition)
    book.claims = [
        f"market:{market_id}",
        f"condition:{condition_id}",
        *(f"position:{position_id}" for position_id in position_ids),
    ]


def market_resolved(
    book: Book, at: LogPosition, *, market_id: str, condition_id: str, payouts: tuple[int, ...]
) -> None:
    """The factory's confirmation; the payouts that count are the condition's."""
    market = _market(book, market_id)
    if market.payouts != list(payouts):
        raise ApplyError(f"the factory confirms payouts {list(payouts)}, the condition has {market.payouts}")
    book.change(market)
    market.confirmed_at = market.updated_at = at.time


def amm_announced(book: Book, at: LogPosition, *, market_id: str, amm: str, initial_liquidity: int, fee: int) -> None:
    """From the start of its block on, the address is the market's AMM: its own first logs precede this one."""
    market = _market(book, market_id)
    book.add(
        Amm(
            id=row_id("amm", amm),
            address=amm,
            market_id=market_id,
            fee=fee,
            block_number=at.block_number,
            created_at=at.time,
        )
    )
    held = [_position(book, market_id, outcome, amm) for outcome in range(len(market.outcomes))]
    for position in filter(None, held):
        book.change(position).is_amm = True
        book.scratch.moved_amms[amm] = at
    if market.amm_address is None:
        book.change(market)
        market.amm_address, market.fee, market.updated_at = amm, fee, at.time


# --- transfers --------------------------------------------------------------------------------------------------------


def outcome_token_moved(
    book: Book, at: LogPosition, *, operator: str, sender: str, receiver: str, id: int, value: int
) -> None:
    _move(book, at, sender, receiver, ((id, value),))


def outcome_tokens_moved(
    book: Book,
    at: LogPosition,
    *,
    operator: str,
    sender: str,
    receiver: str,
    ids: tuple[int, ...],
    values: tuple[int, ...],
) -> None:
    if len(ids) != len(values):
        raise ApplyError(f"{len(ids)} ids and {len(values)} values")
    _move(book, at, sender, receiver, tuple(zip(ids, values, strict=True)))


def outcome_token_moved_6909(
    book: Book, at: LogPosition, *, caller: str, sender: str, receiver: str, id: int, amount: int
) -> None:
    _move(book, at, sender, receiver, ((id, amount),))


def _move(book: Book, at: LogPosition, sender: str, receiver: str, moves: Sequence[tuple[int, int]]) -> None:
    for sequence, (position_id, amount) in enumerate(moves):
        key = f"position:{position_id}"
        if not amount or (book.only is not None and key not in book.only):
            continue
        token = book.get(OutcomeToken, row_id("outcome_token", position_id))
        if token is None:
            book.waits.add(key)
            continue
        _debit(book, at, token, sender, amount)
        _credit(book, at, token, receiver, amount)
        _remember_direct_transfer(book, at, token, sender, receiver, amount, sequence)


def _debit(book: Book, at: LogPosition, token: OutcomeToken, holder: str, amount: int) -> None:
    if holder == ZERO_ADDRESS:
        book.change(token).supply += amount
        return
    position = _position(book, token.market_id, token.outcome_index, holder)
    if position is None or position.amount < amount:
        raise ApplyError(f"{holder} sends {amount} of {token}, but holds {position.amount if position else 0}")
    book.change(position)
    position.amount -= amount
    position.updated_at = at.time
    _note_amm_moved(book, at, holder)


def _credit(book: Book, at: LogPosition, token: OutcomeToken, holder: str, amount: int) -> None:
    if holder == ZERO_ADDRESS:
        book.change(token).supply -= amount
        return
    position = _position(book, token.market_id, token.outcome_index, holder)
    if position is None:
        position = book.add(
            Position(
                id=row_id("position", token.market_id, token.outcome_index, holder),
                user_address=holder,
                market_id=token.market_id,
                outcome_index=token.outcome_index,
                amount=0,
                is_amm=_amm(book, holder) is not None,
                created_at=at.time,
            )
        )
    book.change(position)
    position.amount = _bounded(position.amount + amount, MAX_AMOUNT, "tokens of one holder")
    position.updated_at = at.time
    _note_amm_moved(book, at, holder)


def _note_amm_moved(book: Book, at: LogPosition, holder: str) -> None:
    if _amm(book, holder) is not None:
        book.scratch.moved_amms[holder] = at


def _remember_direct_transfer(
    book: Book, at: LogPosition, token: OutcomeToken, sender: str, receiver: str, amount: int, sequence: int
) -> None:
    """A transfer between two users is history of both; mints, burns and what an AMM moves belong to other events."""
    if ZERO_ADDRESS in (sender, receiver):
        holder, change = (receiver, amount) if sender == ZERO_ADDRESS else (sender, -amount)
        unexplained = book.scratch.unexplained.setdefault(holder, {})
        key = (token.market_id, token.outcome_index)
        unexplained[key] = unexplained.get(key, 0) + change
        return
    if _amm(book, sender) is not None or _amm(book, receiver) is not None:
        return
    for offset, (type_, user, counterparty) in enumerate(
        (("transfer_out", sender, receiver), ("transfer_in", receiver, sender))
    ):
        _remember(
            book,
            at,
            type=type_,
            user_address=user,
            market_id=token.market_id,
            outcome=token.outcome_index,
            amount=amount,
            counterparty=counterparty,
            sequence=2 * sequence + offset,
        )


# --- splits, merges, redemptions --------------------------------------------------------------------------------------


def position_split(
    book: Book,
    at: LogPosition,
    *,
    stakeholder: str,
    collateral_token: str,
    parent_collection_id: str,
    condition_id: str,
    partition: tuple[int, ...],
    amount: int,
) -> None:
    market = _market_of(book, condition_id, collateral_token, parent_collection_id)
    _explain(book, at, "split", stakeholder, market, partition, amount)


def position_merged(
    book: Book,
    at: LogPosition,
    *,
    stakeholder: str,
    collateral_token: str,
    parent_collection_id: str,
    condition_id: str,
    partition: tuple[int, ...],
    amount: int,
) -> None:
    market = _market_of(book, condition_id, collateral_token, parent_collection_id)
    _explain(book, at, "merge", stakeholder, market, partition, amount)


def _explain(
    book: Book,
    at: LogPosition,
    type_: str,
    stakeholder: str,
    market: Market | None,
    partition: tuple[int, ...],
    amount: int,
) -> None:
    """Why the stakeholder's tokens were just minted or burnt; an AMM's are part of a trade.

    All outcomes of a market at once are one entry, against as much collateral. Our tokens also come and go by other
    partitions, and by splits under other conditions: then each outcome is an entry, `split` where tokens appeared and
    `merge` where they went, without collateral.
    """
    moved = book.scratch.unexplained.pop(stakeholder, {})
    if _amm(book, stakeholder) is not None:
        return
    entry = {"user_address": stakeholder, "type": type_}
    if market is not None and is_full_partition(partition, len(market.outcomes)):
        _remember(book, at, market_id=market.market_id, amount=amount, collateral_amount=amount, **entry)
        for outcome in range(len(market.outcomes)):
            moved.pop((market.market_id, outcome), None)
    for sequence, ((market_id, outcome), change) in enumerate(_moved(moved), start=1):
        entry["type"] = "split" if change > 0 else "merge"
        _remember(book, at, market_id=market_id, outcome=outcome, amount=abs(change), sequence=sequence, **entry)


def _moved(unexplained: dict[tuple[str, int], int]) -> list[tuple[tuple[str, int], int]]:
    """What is left of it, in a fixed order."""
    return sorted(item for item in unexplained.items() if item[1])


def payout_redeemed(
    book: Book,
    at: LogPosition,
    *,
    redeemer: str,
    collateral_token: str,
    parent_collection_id: str,
    condition_id: str,
    index_sets: tuple[int, ...],
    payout: int,
) -> None:
    """One entry per outcome redeemed, at what that outcome pays (ConditionalTokens.sol, redeemPositions)."""
    moved = book.scratch.unexplained.pop(redeemer, {})
    market = _market_of(book, condition_id, collateral_token, parent_collection_id)
    if market is not None and market.payouts is None:
        raise ApplyError(f"{redeemer} redeems from {market.market_id}, which is not resolved")
    for sequence, ((market_id, outcome), change) in enumerate(_moved(moved)):
        paid = None
        if market is not None and market.payouts is not None and market_id == market.market_id:
            paid = -change * market.payouts[outcome] // sum(market.payouts)
        entry = {"market_id": market_id, "outcome": outcome, "amount": abs(change), "sequence": sequence}
        # A deeper redemption pays in the tokens of the level above, which may be ours.
        type_ = "redeem" if change < 0 else "split"
        _remember(book, at, type=type_, user_address=redeemer, collateral_amount=paid, **entry)


# --- trades and liquidity ---------------------------------------------------------------------------------------------


def bought(
    book: Book,
    at: LogPosition,
    *,
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
    *,
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
    amm = _announced(book, at)
    market = _market(book, amm.market_id)
    _bounded(outcome + 1, len(market.outcomes), "outcomes")
    trade = book.append(
        Trade(
            id=row_id("trade", at.transaction_hash, at.log_index),
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
    market.updated_at = at.time
    _count_trader(book, market, trader, collateral_amount)
    _remember(
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
    message = feeds.trade(
        trade_id=str(trade.id),
        market_id=market.market_id,
        trader=trader,
        side=side,
        outcome=outcome,
        amount=amount,
        collateral_amount=collateral_amount,
        fee_amount=fee_amount,
        timestamp=at.timestamp,
    )
    book.publish(feeds.market_channel(market.market_id), message, at)
    _record_price(book, at, amm)


def _count_trader(book: Book, market: Market, trader: str, collateral_amount: int) -> None:
    trader_id = row_id("market_trader", market.market_id, trader)
    row = book.get(MarketTrader, trader_id)
    if row is None:
        row = book.add(MarketTrader(id=trader_id, market_id=market.market_id, address=trader))
        market.trader_count += 1
    book.change(row)
    row.trade_count += 1
    row.volume += collateral_amount


def funding_added(
    book: Book, at: LogPosition, *, funder: str, amounts_added: tuple[int, ...], shares_minted: int
) -> None:
    amm = _announced(book, at)
    entry = _remember(
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
    _record_price(book, at, amm)


def funding_removed(
    book: Book,
    at: LogPosition,
    *,
    funder: str,
    amounts_removed: tuple[int, ...],
    collateral_removed_from_fee_pool: int,
    shares_burnt: int,
) -> None:
    amm = _announced(book, at)
    _remember(
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
    _record_price(book, at, amm)


def shares_moved(book: Book, at: LogPosition, *, sender: str, receiver: str, value: int) -> None:
    """LP shares: the provider is whoever holds them, also where another contract funded the pool on their behalf."""
    amm = _announced(book, at)
    if not value:
        return
    book.change(amm)
    if sender == ZERO_ADDRESS:
        amm.total_shares += value
    else:
        held = _shares(book, amm, sender)
        if held is None or held.amount < value:
            raise ApplyError(f"{sender} sends {value} shares of {amm.address}, but holds {held.amount if held else 0}")
        book.change(held).amount -= value
    if receiver == ZERO_ADDRESS:
        amm.total_shares -= value
        return
    held = _shares(book, amm, receiver)
    if held is None:
        share_id = row_id("liquidity_share", amm.address, receiver)
        held = book.add(LiquidityShare(id=share_id, amm_id=amm.address, holder=receiver, amount=0))
    book.change(held).amount = _bounded(held.amount + value, MAX_AMOUNT, "shares of one holder")
    _hand_over_funding(book, amm, sender, receiver, value)


def _hand_over_funding(book: Book, amm: Amm, sender: str, receiver: str, value: int) -> None:
    """deployAMM funds the pool itself and hands all the shares on: the liquidity is the receiver's."""
    entry_id = book.scratch.funded.get(amm.address)
    entry = book.get(HistoryEntry, entry_id) if entry_id else None
    if entry is not None and (entry.user_address, entry.amount) == (sender, value):
        del book.scratch.funded[amm.address]
        book.change(entry).user_address = receiver


def fee_collected(book: Book, at: LogPosition, *, token: str, market_id: str, payer: str, amount: int) -> None:
    market = book.get(Market, row_id("market", market_id))
    if market is None:
        book.waits.add(f"market:{market_id}")
        return
    # Fees in another token can't be added to one figure.
    if token == market.collateral_token and _claimed(book, f"market:{market_id}"):
        book.change(market)
        market.fees_collected += amount
        market.updated_at = max(market.updated_at, at.time)


# --- prices -----------------------------------------------------------------------------------------------------------


def transaction_ended(book: Book) -> None:
    """Prices whatever moved an AMM's tokens without one of the AMM's own events."""
    for address, at in list(book.scratch.moved_amms.items()):
        amm = _amm(book, address)
        if amm is not None:
            _record_price(book, at, amm)
    book.scratch.unexplained.clear()
    book.scratch.funded.clear()


def _record_price(book: Book, at: LogPosition, amm: Amm) -> None:
    """Writes the reserves of the market's AMM, if they changed, as they are now: its balances, outcome by outcome."""
    book.scratch.moved_amms.pop(amm.address, None)
    market = _market(book, amm.market_id)
    held = [_position(book, market.market_id, outcome, amm.address) for outcome in range(len(market.outcomes))]
    reserves = [position.amount if position else 0 for position in held]
    if reserves == amm.reserves:
        return
    book.change(amm).reserves = reserves
    if market.amm_address != amm.address:
        return
    book.change(market)
    market.reserves = reserves
    market.liquidity = liquidity(reserves)
    market.updated_at = at.time
    book.append(
        PricePoint(
            id=row_id("price_point", at.transaction_hash, at.log_index, amm.address),
            market_id=market.market_id,
            reserves=reserves,
            **at.emitted(),
        )
    )
    message = feeds.price_update(market.market_id, reserves, at.timestamp)
    book.publish(feeds.prices_channel(market.market_id), message, at)


# --- shared -----------------------------------------------------------------------------------------------------------


def _bounded(value: int, maximum: int, what: str) -> int:
    if value > maximum:
        raise ApplyError(f"{value} {what}, where {maximum} is the most")
    return value


def _resolve(book: Book, market: Market, condition: Condition) -> None:
    book.change(market)
    market.resolved = True
    market.payouts = condition.payout_numerators
    market.resolved_at = condition.resolved_at
    market.updated_at = max(market.updated_at, condition.resolved_at)


def _market(book: Book, market_id: str) -> Market:
    market = book.get(Market, row_id("market", market_id))
    if market is None:
        raise ApplyError(f"no market {market_id}")
    return market


def _market_of(book: Book, condition_id: str, collateral_token: str, parent_collection_id: str) -> Market | None:
    """The market whose tokens a split, merge or redemption concerns; waits for it where there is none yet.

    The same condition serves other collaterals and deeper collections: those are no outcomes of ours.
    """
    key = f"condition:{condition_id}"
    if parent_collection_id != ZERO_BYTES32 or not _claimed(book, key):
        return None
    markets = book.markets_of_condition(condition_id)
    found = next((market for market in markets if market.collateral_token == collateral_token), None)
    if found is None:
        book.waits.add(key)
    return found


def _claimed(book: Book, key: str) -> bool:
    return book.only is None or key in book.only


def _announced(book: Book, at: LogPosition) -> Amm:
    amm = _amm(book, at.address)
    if amm is None:
        raise ApplyError(f"AMM {at.address} was not announced")
    return amm


def _amm(book: Book, address: str) -> Amm | None:
    return book.get(Amm, row_id("amm", address))


def _position(book: Book, market_id: str, outcome: int, holder: str) -> Position | None:
    return book.get(Position, row_id("position", market_id, outcome, holder))


def _shares(book: Book, amm: Amm, holder: str) -> LiquidityShare | None:
    return book.get(LiquidityShare, row_id("liquidity_share", amm.address, holder))


def _remember(book: Book, at: LogPosition, **columns: object) -> HistoryEntry:
    sequence = columns.setdefault("sequence", 0)
    entry_id = row_id("history", at.transaction_hash, at.log_index, columns["type"], sequence)
    return book.append(HistoryEntry(id=entry_id, **columns, **at.emitted()))
