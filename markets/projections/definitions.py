"""Conditions, markets and AMMs: what the other events are about."""

from functools import partial

from markets import feeds
from markets.book import ApplyError, Book, LogPosition
from markets.chaintime import clamped
from markets.identity import row_id
from markets.projections.lookups import MAX_OUTCOMES, bounded, known_market
from markets.rows import Amm, Condition, Market, OutcomeToken, Position

# What a position says of cost and profit: a pool has none.
PNL = (
    "cost", "realized_pnl", "untracked_amount", "away_amount", "away_cost", "acquired_amount", "acquired_cost",
)  # fmt: skip


def condition_prepared(
    book: Book, at: LogPosition, condition_id: str, oracle: str, question_id: str, outcome_slot_count: int
) -> None:
    _add_condition(book, condition_id, oracle, question_id, outcome_slot_count)


def _add_condition(book: Book, condition_id: str, oracle: str, question_id: str, outcome_slot_count: int) -> Condition:
    return book.add(
        Condition(
            id=row_id("condition", condition_id),
            condition_id=condition_id,
            oracle=oracle,
            question_id=question_id,
            outcome_slot_count=bounded(outcome_slot_count, MAX_OUTCOMES, "outcome slots"),
        )
    )


def condition_resolved(
    book: Book,
    at: LogPosition,
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
    condition.resolved_at, condition.resolved_block = at.timestamp, at.block_number
    for market in book.markets_of_condition(condition_id):
        _resolve(book, at, market, condition)


def market_created(
    book: Book,
    at: LogPosition,
    market_id: str,
    question_id: str,
    condition_id: str,
    creator: str,
    collateral_token: str,
    question: str,
    outcomes: tuple[str, ...],
    resolution_time: int,
) -> None:
    outcome_count = bounded(len(outcomes), MAX_OUTCOMES, "outcomes")
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
        resolution_time=clamped(resolution_time),
        resolution_timestamp=resolution_time,
        block_number=at.block_number,
        block_hash=at.block_hash,
        transaction_hash=at.transaction_hash,
        log_index=at.log_index,
        created_at=at.timestamp,
        updated_at=at.timestamp,
    )
    book.add(market)
    book.index_market(market)
    book.publish(feeds.MARKETS_CHANNEL, lambda: feeds.market_created(market), at)
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
        _resolve(book, at, market, condition)
    book.claims = [
        f"market:{market_id}",
        f"condition:{condition_id}",
        *(f"position:{position_id}" for position_id in position_ids),
    ]


def market_resolved(book: Book, at: LogPosition, market_id: str, condition_id: str, payouts: tuple[int, ...]) -> None:
    """The factory's confirmation; the payouts that count are the condition's."""
    market = known_market(book, market_id)
    if market.payouts != list(payouts):
        raise ApplyError(f"the factory confirms payouts {list(payouts)}, the condition has {market.payouts}")
    book.change(market)
    market.confirmed_at = market.updated_at = at.timestamp


def amm_announced(book: Book, at: LogPosition, market_id: str, amm: str, initial_liquidity: int, fee: int) -> None:
    """From the start of its block on, the address is the market's AMM: its own first logs precede this one."""
    market = known_market(book, market_id)
    book.add(
        Amm(
            id=row_id("amm", amm),
            address=amm,
            market_id=market_id,
            fee=fee,
            block_number=at.block_number,
            created_at=at.timestamp,
        )
    )
    for position in book.rows_of(Position, "user_address", amm):
        book.change(position).is_amm = True
        for column in PNL:
            setattr(position, column, 0)
        if position.market_id == market_id:
            book.scratch.moved_amms[amm] = at, 0
    if market.amm_address is None:
        book.change(market)
        market.amm_address, market.fee, market.updated_at = amm, fee, at.timestamp


def _resolve(book: Book, at: LogPosition, market: Market, condition: Condition) -> None:
    book.change(market)
    market.resolved = True
    market.payouts = condition.payout_numerators
    market.resolved_at, market.resolved_block = condition.resolved_at, condition.resolved_block
    market.updated_at = max(market.updated_at, condition.resolved_at or market.updated_at)
    of_market = partial(feeds.market_resolved, market, "market", at.timestamp)
    book.publish(feeds.market_channel(market.market_id), of_market, at)
    of_all = partial(feeds.market_resolved, market, feeds.MARKETS_CHANNEL, at.timestamp)
    book.publish(feeds.MARKETS_CHANNEL, of_all, at)
